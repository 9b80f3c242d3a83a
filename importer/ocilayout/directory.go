package ocilayout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

// lockInterval is how often a lock is asked for that somebody else holds. It is held for as long as renaming some files takes.
const lockInterval = 5 * time.Millisecond

// directory is a layout in a directory.
type directory struct {
	path    string
	created bool
}

// openDirectory checks the directory at path, or makes it.
func openDirectory(path, tag string) (place, *staging, error) {
	d := &directory{path: filepath.Clean(path)}
	err := os.Mkdir(d.path, 0o755)
	d.created = err == nil
	if errors.Is(err, fs.ErrExist) {
		err = d.check(tag)
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := newStaging(d.path)
	if err != nil {
		d.abandon()
		return nil, nil, err
	}
	return d, s, nil
}

// check refuses a directory that can't take the image.
func (d *directory) check(tag string) error {
	raw, err := readSmall(filepath.Join(d.path, ocispec.ImageLayoutFile))
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
	index, err := readIndex(d.path)
	if err != nil {
		return err
	}
	return index.checkTag(tag)
}

// checkEmpty accepts a directory in which there is nothing, or only other writers' stagings.
func (d *directory) checkEmpty() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); !scratch.Is(name) && name != "blobs" {
			return errors.New("the directory is neither empty nor an OCI image layout; name another one")
		}
	}
	return nil
}

// abandon removes a directory that was made, unless there is something in it.
func (d *directory) abandon() {
	if d.created {
		os.Remove(d.path) // fails where it should
	}
}

func (d *directory) blob(b digest.Digest) string {
	return filepath.Join(d.path, ocispec.ImageBlobsDir, b.Algorithm().String(), b.Encoded())
}

func (d *directory) size(b digest.Digest) int64 {
	info, err := os.Lstat(d.blob(b))
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// publish moves the blobs to their place and then has the index name the image.
func (d *directory) publish(ctx context.Context, p publication) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index, err := readIndex(d.path)
	if err == nil {
		err = index.checkTag(p.tag)
	}
	if err == nil {
		err = index.set(p.entry, p.tag)
	}
	if err != nil {
		return err
	}
	added, err := d.addFiles(p)
	if err == nil {
		err = d.replace(p, ocispec.ImageIndexFile, index.marshal())
	}
	if err != nil {
		for _, path := range slices.Backward(added) {
			os.Remove(path) // nothing names it; a directory stays that others use
		}
		return err
	}
	if !p.sync {
		return nil
	}
	return scratch.SyncDir(d.path)
}

// lock makes sure that nobody else changes the layout.
func (d *directory) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	for {
		err := scratch.Flock(dir, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if err != unix.EWOULDBLOCK {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", d.path, err), dir.Close())
		}
		select {
		case <-time.After(lockInterval):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), dir.Close())
		}
	}
}

// addFiles puts everything but the index in its place, unless it is there. It returns the paths of what it made, also when it fails.
func (d *directory) addFiles(p publication) (added []string, err error) {
	changed := map[string]bool{d.path: true, filepath.Dir(d.path): d.created}
	for _, b := range p.blobs {
		if d.size(b.Digest) == b.Size {
			continue
		}
		path := d.blob(b.Digest)
		for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
			if err := os.Mkdir(dir, 0o755); err == nil {
				added = append(added, dir)
			} else if !errors.Is(err, fs.ErrExist) {
				return added, err
			}
			changed[dir] = true
		}
		err := os.Rename(p.staging.blob(b.Digest), path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("the blob %s was at its place before and is not now; write the image again", b.Digest)
		}
		if err != nil {
			return added, err
		}
		added = append(added, path)
	}
	layout := filepath.Join(d.path, ocispec.ImageLayoutFile)
	if _, err := os.Lstat(layout); errors.Is(err, fs.ErrNotExist) {
		if err := d.replace(p, ocispec.ImageLayoutFile, layoutFile()); err != nil {
			return added, err
		}
		added = append(added, layout)
	}
	for dir, yes := range changed {
		if yes && p.sync {
			if err := scratch.SyncDir(dir); err != nil {
				return added, err
			}
		}
	}
	return added, nil
}

// replace writes a file that takes the place of one that may be there.
func (d *directory) replace(p publication, name string, content []byte) error {
	temporary, err := p.staging.writeFile(content, p.sync)
	if err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(d.path, name))
}
