package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Export writes a stored image out: as an image to where Encapsulate writes one, or as the root
// that its layers make together to a file. Package export tells what they hold. progress may be
// nil; it is called with the number of files and must not block.
func (im *Importer) Export(ctx context.Context, req ExportRequest, progress func(Progress)) (*ExportResult, error) {
	dest, compression, err := checkExport(req)
	if err != nil {
		return nil, err
	}
	progress = steady(progress)
	var res *ExportResult
	err = im.deliver(ctx, dest.Image, req.DestinationFD, req.Access, progress, func(to reference.Image, how ocilayout.Options) (layers int, err error) {
		written := dest
		written.Image, written.Parent = to, how.Parent
		res, layers, err = im.writeExport(ctx, req, written, compression, how, writing(dest.Image, progress))
		return layers, err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

func checkExport(req ExportRequest) (export.Destination, ocilayout.Compression, error) {
	dest, err := export.ParseDestination(req.Destination)
	if err != nil {
		return dest, ocilayout.Compression{}, &Error{Kind: KindInvalidReference, Stage: StageExport, Err: err}
	}
	compression, err := layerCompression(dest.Image, req.Compression, req.CompressionLevel)
	if err == nil && dest.Root != "" && (req.Compression != "" || req.CompressionLevel != 0) {
		err = fmt.Errorf("a destination %s: has no layers that could be compressed by %s", dest.Root, compression.Format)
	}
	if err != nil {
		return dest, ocilayout.Compression{}, &Error{Kind: KindInvalidOption, Stage: StageExport, Err: err}
	}
	return dest, compression, nil
}

// writeExport writes the image to a place on this host, and returns the number of its layers.
func (im *Importer) writeExport(
	ctx context.Context, req ExportRequest, dest export.Destination, compression ocilayout.Compression, how ocilayout.Options,
	progress func(Progress),
) (res *ExportResult, layers int, err error) {
	im.Sweep(ctx)
	// Nothing of the image is collected meanwhile.
	lock, err := im.lock(ctx, StageExport, false, progress)
	if err != nil {
		return nil, 0, err
	}
	defer lock.Close()
	image, err := im.storedImage(req.Image)
	if err != nil {
		return nil, 0, err
	}
	res = &ExportResult{
		Destination: req.Destination, Reference: image.name.String(), Commit: image.Commit.String(), ManifestDigest: image.Digest,
	}
	if dest.Root != "" {
		err = im.exportRoot(ctx, image, dest, res, exportSteps(progress))
	} else {
		err = im.exportImage(ctx, image, dest, compression, how, res, exportSteps(progress))
	}
	if err != nil {
		return nil, 0, stopped(ctx, StageExport, classifyExport(image, dest, err))
	}
	return res, len(image.Manifest.Layers), nil
}

func (im *Importer) exportRoot(ctx context.Context, image namedImage, dest export.Destination, res *ExportResult, step func(uint64)) error {
	written, err := export.WriteRoot(ctx, export.Root{
		Repo: im.repo, Commit: image.Commit, Tree: objects.TreeDir{Tree: image.Object.Tree, Meta: image.Object.Meta},
		ManifestDigest: image.Digest, Config: image.RawConfig, User: im.user,
	}, dest, step)
	if err != nil {
		return err
	}
	res.Size, res.Cached, res.ConfigFile, res.Omitted = written.Size, written.Cached, written.ConfigFile, written.Omitted
	if len(written.Omitted) > 0 {
		im.log.WithField("destination", res.Destination).Warnf("extended attributes that %s can't hold are left out: %q", dest.Root, written.Omitted)
	}
	return nil
}

func (im *Importer) exportImage(
	ctx context.Context, image namedImage, dest export.Destination, compression ocilayout.Compression, how ocilayout.Options,
	res *ExportResult, step func(uint64),
) (err error) {
	layers, err := im.heldLayers(image)
	if err != nil {
		return err
	}
	w, err := ocilayout.New(dest.Image, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	written, err := export.WriteImage(ctx, export.Image{Repo: im.repo, Image: image.Image, Layers: layers}, w, compression, step)
	res.ManifestDigest, res.Size = written.ManifestDigest, written.Size
	return err
}

// heldLayers reads the layers of an image, all of which must be here.
func (im *Importer) heldLayers(image namedImage) ([]stored.Layer, error) {
	layers := make([]stored.Layer, len(image.Manifest.Layers))
	kinds := document.Kinds(image.Config, len(layers))
	for i, l := range image.Manifest.Layers {
		held, err := stored.ReadLayer(im.repo, l.Digest)
		if err == nil {
			err = held.CheckKind(kinds[i])
		}
		if err != nil {
			return nil, &export.LayerError{Index: i + 1, Err: err}
		}
		layers[i] = held
	}
	return layers, nil
}

// exportSteps samples what is done into Progress values.
func exportSteps(progress func(Progress)) func(total uint64) {
	if progress == nil {
		return nil
	}
	var done uint64
	var last time.Time
	return func(total uint64) {
		if done++; done == total || time.Since(last) >= sampleInterval {
			last = time.Now()
			progress(steps(StageExport, done, total))
		}
	}
}

// classifyExport finds the kind of a failed export.
func classifyExport(image namedImage, dest export.Destination, err error) *Error {
	e := classify(StageExport, err)
	var layer *export.LayerError
	if errors.As(err, &layer) {
		e.LayerIndex, e.LayerCount, e.Err = layer.Index, len(image.Manifest.Layers), layer.Err
		e.Layer = image.Manifest.Layers[layer.Index-1].Digest
	}
	if e.Kind == KindCorrupted {
		e.Hint = "`ostree-importctl verify --repair " + image.name.String() + "` mends it"
	}
	return classifyWritten(e, err)
}

// classifyWritten finds the kind of a failure to write an image or a root, and what helps.
func classifyWritten(e *Error, err error) *Error {
	var tool *command.Error
	switch {
	case e.Kind != KindFailed:
	case errors.Is(err, dirfd.ErrInRepository), errors.Is(err, dirfd.ErrForeignLink), errors.Is(err, export.ErrForeignConfig), errors.Is(err, encapsulate.ErrNoKey):
		e.Kind = KindInvalidOption
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Kind, e.Hint = KindNoSpace, "free space there, or name another destination: nothing was left behind"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Hint = KindAccessDenied, "name a destination that you may write to"
	case errors.Is(err, unix.EROFS):
		e.Kind, e.Hint = KindReadOnly, "name a destination that the daemon may write to, or allow it this one (ReadWritePaths= in a drop-in of its unit)"
	case errors.Is(err, export.ErrToolMissing), errors.As(err, &tool):
		e.Kind = KindToolFailed
	}
	return e
}
