package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Encapsulate writes a commit as an image, to an OCI layout, or elsewhere by way of one. The same
// commit and request give the same image. progress may be nil; it must not block.
func (im *Importer) Encapsulate(ctx context.Context, req EncapsulateRequest, progress func(Progress)) (*EncapsulateResult, error) {
	dest, opts, err := checkEncapsulate(req)
	if err != nil {
		return nil, err
	}
	im.Sweep(ctx)
	commit, err := im.revision(req.Rev)
	if err != nil {
		return nil, err
	}
	opts.RPM = im.rpm
	if opts.Prior, err = im.priorManifest(ctx, req); err != nil {
		return nil, err
	}
	progress = steady(progress)
	var res *EncapsulateResult
	err = im.deliver(ctx, dest, req.DestinationFD, req.Access, progress, func(to reference.Image, how ocilayout.Options) (layers int, err error) {
		if res, err = im.writeEncapsulated(ctx, commit, to, opts, how, writing(dest, progress)); err != nil {
			return 0, stopped(ctx, StageEncapsulate, classifyWritten(classify(StageEncapsulate, err), err))
		}
		return len(res.Layers), nil
	})
	if err != nil {
		return nil, err
	}
	res.Destination = dest.String()
	return res, nil
}

func checkEncapsulate(req EncapsulateRequest) (reference.Image, encapsulate.Options, error) {
	invalid := func(err error) (reference.Image, encapsulate.Options, error) {
		return reference.Image{}, encapsulate.Options{}, &Error{Kind: KindInvalidOption, Stage: StageEncapsulate, Err: err}
	}
	dest, err := reference.ParseImage(req.Destination)
	if err != nil {
		return reference.Image{}, encapsulate.Options{}, &Error{Kind: KindInvalidReference, Stage: StageEncapsulate, Err: fmt.Errorf("destination: %w", err)}
	}
	if err := export.CheckImage(dest); err != nil {
		return invalid(err)
	}
	compression, err := layerCompression(dest, req.Compression, req.CompressionLevel)
	if err != nil {
		return invalid(err)
	}
	opts := encapsulate.Options{
		Labels: req.Labels, Copy: req.Copy, CopyOptional: req.CopyOptional, Cmd: req.Cmd, Arch: req.Architecture, MaxLayers: req.MaxLayers,
		SingleLayer: req.SingleLayer, Compression: compression,
	}
	if err := readEncapsulateFiles(req, &opts); err != nil {
		return invalid(err)
	}
	if req.MaxLayers < 0 || req.SingleLayer && (req.MaxLayers > 1 || req.Prior != "" || req.ContentMap != "") {
		return invalid(errors.New("the number of layers is at least 1, and a single layer has neither more, nor a prior image, nor a content map"))
	}
	return dest, opts, nil
}

// readEncapsulateFiles reads the time of creation, and the files that a request names.
func readEncapsulateFiles(req EncapsulateRequest, opts *encapsulate.Options) (err error) {
	if req.Created != "" {
		if opts.Created, err = time.Parse(time.RFC3339, req.Created); err != nil {
			return fmt.Errorf("the time of creation %q is not written as in 2026-01-31T12:00:00Z", req.Created)
		}
	}
	if req.ContainerConfig != "" {
		raw, err := readSmallFile(req.ContainerConfig)
		if err == nil {
			opts.Config, err = encapsulate.ParseConfig(raw)
		}
		if err != nil {
			return fmt.Errorf("the container config %s: %w", req.ContainerConfig, err)
		}
	}
	if req.ContentMap != "" {
		raw, err := readSmallFile(req.ContentMap)
		if err == nil {
			opts.Content, err = encapsulate.ParseContentMap(raw)
		}
		if err != nil {
			return fmt.Errorf("the content map %s: %w", req.ContentMap, err)
		}
	}
	return nil
}

// readSmallFile reads a JSON document from a regular file.
func readSmallFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is no regular file"), err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err == nil && len(raw) > document.MaxSize {
		err = fmt.Errorf("it has more than %d bytes", document.MaxSize)
	}
	return raw, err
}

// revision gives the commit that a ref or a checksum names.
func (im *Importer) revision(rev string) (objects.Checksum, error) {
	c, err := im.repo.Resolve(rev)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		if sum, parseErr := objects.ParseChecksum(rev); parseErr == nil && im.repo.Has(objects.KindCommit, sum) {
			return sum, nil
		}
		return objects.Checksum{}, &Error{
			Kind: KindNoSuchImage, Stage: StageEncapsulate, Err: fmt.Errorf("%s has neither a ref nor a commit %q", im.repo.Path(), rev),
			Hint: "`ostree refs` lists the refs",
		}
	}
	if err != nil {
		return objects.Checksum{}, classify(StageEncapsulate, err)
	}
	return c, nil
}

// priorManifest fetches the manifest of the request's earlier image; nil for none.
func (im *Importer) priorManifest(ctx context.Context, req EncapsulateRequest) (*ocispec.Manifest, error) {
	if req.Prior == "" {
		return nil, nil
	}
	prior, err := reference.Parse(req.Prior)
	if err != nil {
		return nil, &Error{Kind: KindInvalidReference, Stage: StageEncapsulate, Err: fmt.Errorf("the prior image: %w", err)}
	}
	source, err := im.openSource(ctx, prior.Image, req.Access.With(req.PriorFD))
	if err != nil {
		return nil, err
	}
	defer source.Close() // all that matters was told by Manifest
	raw, _, err := source.Manifest(ctx)
	if err != nil {
		return nil, stopped(ctx, StageManifest, classify(StageManifest, err))
	}
	m, err := document.ParseManifest(raw)
	if err != nil {
		return nil, &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: fmt.Errorf("the prior image: %w", err)}
	}
	return m, nil
}

func (im *Importer) writeEncapsulated(
	ctx context.Context, commit objects.Checksum, dest reference.Image, opts encapsulate.Options, how ocilayout.Options, progress func(Progress),
) (res *EncapsulateResult, err error) {
	// Nothing of the commit is collected meanwhile.
	lock, err := im.lock(ctx, StageEncapsulate, false, progress)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	w, err := ocilayout.New(dest, how)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var report func(encapsulate.Progress)
	if progress != nil {
		report = func(p encapsulate.Progress) {
			progress(Progress{
				Stage: StageEncapsulate, Fraction: fraction(p.Bytes, p.BytesTotal),
				LayersTotal: p.LayersTotal, LayersDone: p.Layers, Bytes: p.Bytes, BytesTotal: p.BytesTotal,
			})
		}
	}
	made, err := encapsulate.Encapsulate(ctx, im.repo, commit, w, opts, report)
	if err != nil {
		return nil, err
	}
	res = &EncapsulateResult{
		Commit: commit.String(), ManifestDigest: made.ManifestDigest, ConfigDigest: made.ConfigDigest,
		Chunking: string(made.Chunking), Note: made.Note,
	}
	for _, l := range made.Layers {
		res.Layers = append(res.Layers, EncapsulatedLayer{Digest: l.Descriptor.Digest, DiffID: l.DiffID, Size: uint64(l.Descriptor.Size), Name: l.Name})
	}
	return res, nil
}
