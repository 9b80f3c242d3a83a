package importer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

// PushFunc copies an image of an OCI layout to a registry, so that its manifest keeps its digest. It may take over the directory that the
// layout is in, which nobody else can enter. Its errors are as a Source's.
type PushFunc func(ctx context.Context, from, to reference.Image, access Access) error

// pushTag is the tag of an image that waits in a temporary layout for being pushed.
const pushTag = "image"

// deliver has write write an image to dest, or for a registry to a temporary layout that is then pushed there. write returns the
// number of layers. Errors are those of write as they are, and those of a push.
func (im *Importer) deliver(
	ctx context.Context, dest reference.Image, access Access, progress func(Progress),
	write func(to reference.Image, how ocilayout.Options) (layers int, err error),
) error {
	if dest.Transport != reference.TransportRegistry {
		_, err := write(dest, ocilayout.Options{})
		return err
	}
	dir, path, err := newPushDir()
	if err != nil {
		return classifyTemporary(err)
	}
	defer im.closeTemporary(dir)
	layout := reference.Image{Transport: reference.TransportOCI, Name: filepath.Join(path, "layout") + ":" + pushTag}
	layers, err := write(layout, ocilayout.Options{NoSync: true})
	if err != nil {
		return err
	}
	if progress != nil {
		progress(Progress{Stage: StagePush, LayersTotal: layers})
	}
	if err := im.push(ctx, layout, dest, access); err != nil {
		return stopped(ctx, StagePush, classify(StagePush, err))
	}
	return nil
}

// classifyTemporary finds the kind of a failure to make a directory in tempdir.Shared, and what helps.
func classifyTemporary(err error) *Error {
	e := classify(StagePush, err)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Kind, e.Hint = KindNoSpace, "free space in "+tempdir.Shared
	case errors.Is(err, unix.EROFS):
		e.Kind, e.Hint = KindReadOnly, "mount the file system of "+tempdir.Shared+" writable"
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Hint = KindNotAvailable, "make it with `install -d -m 1777 "+tempdir.Shared+"`"
	}
	return e
}

// newPushDir makes a directory, at path, that a push may take over. It is deleted with dir, which stays ours.
func newPushDir() (dir *tempdir.Dir, path string, err error) {
	dir, err = tempdir.New(tempdir.Shared, tempdir.SharedPrefix+"push-")
	if err != nil {
		return nil, "", err
	}
	path = dir.Path("push")
	if err = os.Mkdir(path, 0o700); err == nil {
		err = dir.Share()
	}
	if err != nil {
		return nil, "", errors.Join(err, dir.Close())
	}
	return dir, path, nil
}
