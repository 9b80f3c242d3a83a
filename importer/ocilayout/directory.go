package ocilayout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// lockInterval is how often a lock is asked for that somebody else holds. It is held for as long as
// renaming some files takes.
const lockInterval = 5 * time.Millisecond

// directory is a layout in a directory.
type directory struct {
	layout  *dirfd.Dir
	parent  *dirfd.Dir
	name    string // in parent
	created bool
}

// openParent opens the directory that the last element of a path is in, which may be open already.
// It refuses one inside an OSTree repository.
func openParent(path string, opened *dirfd.Dir) (parent *dirfd.Dir, name string, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, "", err
	}
	if parent, err = dirfd.OpenParent(path, opened); err != nil {
		return nil, "", err
	}
	if err := parent.RefuseRepository(); err != nil {
		return nil, "", errors.Join(err, parent.Close())
	}
	return parent, filepath.Base(path), nil
}

// openDirectory checks the directory at path, or makes it.
func openDirectory(path, tag string, opened *dirfd.Dir) (place, *staging, error) {
	parent, name, err := openParent(path, opened)
	if err != nil {
		return nil, nil, err
	}
	d := &directory{parent: parent, name: name}
	s, err := d.open(tag)
	if err != nil {
		return nil, nil, errors.Join(err, d.close())
	}
	return d, s, nil
}

func (d *directory) open(tag string) (*staging, error) {
	var err error
	d.layout, err = d.parent.MakeDir(d.name, 0o755)
	d.created = err == nil
	if errors.Is(err, fs.ErrExist) {
		if d.layout, err = d.parent.OpenAt(d.name); err == nil {
			err = d.check(tag)
		}
	}
	if err != nil {
		return nil, err
	}
	return newStaging(d.layout)
}

// check refuses a directory that can't take the image.
func (d *directory) check(tag string) error {
	if err := d.layout.RefuseRepository(); err != nil { // the name may have been a link
		return err
	}
	raw, err := readSmall(d.layout, ocispec.ImageLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d.checkEmpty()
	}
	if err != nil {
		return err
	}
	var layout ocispec.ImageLayout
	if err := json.Unmarshal(raw, &layout); err != nil || !strings.HasPrefix(layout.Version, "1.") {
		return fmt.Errorf("its %s file is not that of an OCI image layout of version 1; name another directory", ocispec.ImageLayoutFile)
	}
	index, err := readIndex(d.layout)
	if err != nil {
		return err
	}
	return index.checkTag(tag)
}

// checkEmpty accepts a directory in which there is nothing, or only other writers' stagings.
func (d *directory) checkEmpty() error {
	names, err := d.layout.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !scratch.Is(name) && name != ocispec.ImageBlobsDir {
			return errors.New("the directory is neither empty nor an OCI image layout; name another one")
		}
	}
	return nil
}

// close removes a directory that was made, unless there is something in it.
func (d *directory) close() error {
	var err error
	if d.created && d.parent.Holds(d.name, d.layout) {
		_ = d.parent.RemoveDir(d.name) // fails where it should
	}
	if d.layout != nil {
		err = d.layout.Close()
	}
	return errors.Join(err, d.parent.Close())
}

func (d *directory) holds(b ocispec.Descriptor) bool {
	blobs, err := d.layout.OpenDir(ocispec.ImageBlobsDir)
	if err != nil {
		return false
	}
	defer blobs.Close()
	in, err := blobs.OpenDir(b.Digest.Algorithm().String())
	if err != nil {
		return false
	}
	defer in.Close()
	if sizeIn(in, b.Digest) != b.Size {
		return false
	}
	f, err := in.OpenFile(b.Digest.Encoded(), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	verifier := b.Digest.Verifier()
	n, err := io.Copy(verifier, io.LimitReader(f, b.Size+1))
	return err == nil && n == b.Size && verifier.Verified()
}

// sizeIn tells the size of a blob in the directory of its algorithm, or -1.
func sizeIn(in *dirfd.Dir, b digest.Digest) int64 {
	stat, err := in.Stat(b.Encoded())
	if err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1
	}
	return stat.Size
}

// publish moves the blobs to their place and then has the index name the image.
func (d *directory) publish(ctx context.Context, p publication) (err error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index, err := readIndex(d.layout)
	if err == nil {
		err = index.checkTag(p.tag)
	}
	if err == nil {
		err = index.set(p.entry, p.tag)
	}
	if err != nil {
		return err
	}
	a := &additions{directory: d, publication: p, dirs: make(map[string]*dirfd.Dir)}
	defer func() { err = errors.Join(err, a.close()) }()
	crashpoint.Pass("layout written")
	err = a.add()
	if err == nil {
		crashpoint.Pass("layout filled")
		err = a.replace(ocispec.ImageIndexFile, index.marshal())
	}
	if err != nil {
		a.undo()
		return err
	}
	if !p.sync {
		return nil
	}
	return d.layout.Sync()
}

// lock makes sure that nobody else changes the layout.
func (d *directory) lock(ctx context.Context) (unlock func(), err error) {
	for {
		err := scratch.Flock(d.layout.File(), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = scratch.Flock(d.layout.File(), unix.LOCK_UN) }, nil // only a closed one can't be unlocked
		}
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("lock %s: %w", d.layout.Path(""), err)
		}
		select {
		case <-time.After(lockInterval):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
