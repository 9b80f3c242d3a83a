package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/destination"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

// PushFunc copies an image of an OCI layout to a registry, to a container storage, or to a file or
// directory beside the layout, so that its manifest keeps its digest where the destination has it.
// It may take over the directory that the layout is in, which nobody else can enter. Its errors are
// as a Source's.
type PushFunc func(ctx context.Context, from, to reference.Image, access Access) error

const (
	// pushTag is the tag of an image that waits in a temporary layout for being pushed.
	pushTag = "image"
	// pushedName is what a push makes beside the layout, where the destination is a file or
	// directory.
	pushedName = "pushed"
)

// layerCompression is how the layers of an image for dest are compressed: as asked for, but not at
// all where the destination keeps them uncompressed.
func layerCompression(dest reference.Image, asked string, level int) (ocilayout.Compression, error) {
	c, err := ocilayout.ParseCompression(asked, level)
	switch {
	case err != nil:
		return ocilayout.Compression{}, err
	case dest.Transport == reference.TransportDockerArchive && (asked != "" || level != 0) && c.Format != ocilayout.Uncompressed:
		return ocilayout.Compression{}, fmt.Errorf("the layers of a docker-archive: are not compressed: leave the compression (%s) away", c.Format)
	case dest.Transport == reference.TransportDockerArchive,
		dest.Transport == reference.TransportContainersStorage && asked == "" && level == 0:
		return ocilayout.Compression{Format: ocilayout.Uncompressed}, nil
	}
	return c, nil
}

// isPushed reports whether an image gets there by way of a temporary layout.
func isPushed(transport reference.Transport) bool {
	switch transport {
	case reference.TransportRegistry, reference.TransportContainersStorage, reference.TransportDir, reference.TransportDockerArchive:
		return true
	}
	return false
}

// openPlace opens the file or directory that a push to dest makes, in a directory that may be open
// already; nil where it makes none.
func openPlace(dest reference.Image, parent *dirfd.Dir) (*destination.Place, error) {
	path, _, _ := dest.Path()
	switch dest.Transport {
	case reference.TransportDir:
		return destination.Open(path, destination.ImageDir, parent)
	case reference.TransportDockerArchive:
		return destination.Open(path, destination.File, parent)
	}
	return nil, nil
}

// writtenPart is how much of the delivery by a push is done when the image is written to the layout
// that is pushed.
const writtenPart = 0.5

// writing passes the samples of writing an image on, as the part that it is of the image's delivery
// to dest.
func writing(dest reference.Image, progress func(Progress)) func(Progress) {
	if !isPushed(dest.Transport) {
		return progress
	}
	return part(progress, 0, writtenPart)
}

// deliver has write write an image to dest, or to a temporary layout that is then pushed there.
// write returns the number of layers. Errors are those of write as they are, and those of a push.
func (im *Importer) deliver(
	ctx context.Context, dest reference.Image, opened *Descriptor, access Access, progress func(Progress),
	write func(to reference.Image, how ocilayout.Options) (layers int, err error),
) error {
	var parent *dirfd.Dir
	if opened != nil {
		var err error
		if parent, err = opened.OpenDir(); err != nil {
			return &Error{Kind: KindInvalidOption, Stage: StageExport, Err: fmt.Errorf("the directory of the destination: %w", err)}
		}
		defer parent.Close()
	}
	if !isPushed(dest.Transport) {
		_, err := write(dest, ocilayout.Options{Parent: parent})
		return err
	}
	place, err := openPlace(dest, parent)
	if err != nil {
		return classifyWritten(classify(StagePush, err), err)
	}
	if place != nil {
		defer place.Close() // an image that was put there is on the disk
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
		progress(Progress{Stage: StagePush, Fraction: writtenPart, LayersTotal: layers})
	}
	to := dest
	if place != nil {
		_, rest, _ := dest.Path()
		to.Name = filepath.Join(path, pushedName) + rest
	}
	if err := im.push(ctx, layout, to, access); err != nil {
		return stopped(ctx, StagePush, classify(StagePush, err))
	}
	if place == nil {
		return nil
	}
	if err := place.Put(ctx, path, pushedName); err != nil {
		return stopped(ctx, StagePush, classifyWritten(classify(StagePush, err), err))
	}
	return nil
}

// classifyTemporary finds the kind of a failure to make a directory in tempdir.Shared, and what
// helps.
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

// newPushDir makes a directory, at path, that a push may take over. It is deleted with dir, which
// stays ours.
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
