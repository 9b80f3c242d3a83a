package ocilayout

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
)

// additions are the files that a publication adds to a directory.
type additions struct {
	*directory
	publication
	dirs  map[string]*dirfd.Dir // that are open, by their path in the layout
	undos []func()
}

// add puts everything but the index in its place, unless it is there.
func (a *additions) add() error {
	for _, b := range a.blobs {
		if err := a.addBlob(b); err != nil {
			return err
		}
	}
	_, err := a.layout.Stat(ocispec.ImageLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err = a.replace(ocispec.ImageLayoutFile, layoutFile()); err == nil {
			a.added(a.layout, ocispec.ImageLayoutFile)
		}
	}
	if err != nil || !a.sync {
		return err
	}
	return a.syncDirs()
}

func (a *additions) addBlob(b ocispec.Descriptor) error {
	algorithm := b.Digest.Algorithm().String()
	blobs, err := a.dir(a.layout, "", ocispec.ImageBlobsDir)
	if err != nil {
		return err
	}
	in, err := a.dir(blobs, ocispec.ImageBlobsDir, algorithm)
	if err != nil {
		return err
	}
	there := sizeIn(in, b.Digest)
	if a.kept[b.Digest] && there == b.Size {
		return nil
	}
	err = a.staging.Rename(a.staging.blob(b.Digest), in, b.Digest.Encoded())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the blob %s was at its place before and is not now; write the image again", b.Digest)
	}
	if err == nil && there < 0 { // what takes the place of a damaged blob is right for other images too
		a.added(in, b.Digest.Encoded())
	}
	return err
}

// dir opens a directory, which it makes if there is none. path is that of parent in the layout.
func (a *additions) dir(parent *dirfd.Dir, path, name string) (*dirfd.Dir, error) {
	path += "/" + name
	if dir, open := a.dirs[path]; open {
		return dir, nil
	}
	dir, err := parent.MakeDir(name, 0o755)
	if err == nil {
		a.undos = append(a.undos, func() { _ = parent.RemoveDir(name) }) // it stays when others use it
	} else if errors.Is(err, fs.ErrExist) {
		dir, err = parent.OpenDir(name)
	}
	if err != nil {
		return nil, err
	}
	a.dirs[path] = dir
	return dir, nil
}

// replace writes a file that takes the place of one that may be there.
func (a *additions) replace(name string, content []byte) error {
	temporary, err := a.staging.writeFile(content, a.sync)
	if err != nil {
		return err
	}
	return a.staging.Rename(temporary, a.layout, name)
}

// added takes note of a file that nothing names yet.
func (a *additions) added(in *dirfd.Dir, name string) {
	a.undos = append(a.undos, func() { _ = in.Remove(name) })
}

// undo removes what was added.
func (a *additions) undo() {
	for _, undo := range slices.Backward(a.undos) {
		undo()
	}
}

func (a *additions) syncDirs() error {
	for _, dir := range a.dirs {
		if err := dir.Sync(); err != nil {
			return err
		}
	}
	if err := a.layout.Sync(); err != nil || !a.created {
		return err
	}
	return a.parent.Sync()
}

func (a *additions) close() error {
	var err error
	for _, dir := range a.dirs {
		err = errors.Join(err, dir.Close())
	}
	return err
}
