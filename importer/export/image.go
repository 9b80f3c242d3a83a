package export

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// maxParallel bounds how many layers are written at once.
const maxParallel = 4

// Image is a stored image.
type Image struct {
	Repo *ostreerepo.Repo
	stored.Image
	Layers []stored.Layer // as many as the manifest has, of the kinds that the config says
}

// ImageResult is what WriteImage has written.
type ImageResult struct {
	ManifestDigest digest.Digest
	Size           uint64 // of layers, config and manifest, in bytes
}

// LayerError says which layer could not be written.
type LayerError struct {
	Index int // counted from 1
	Err   error
}

func (e *LayerError) Error() string { return fmt.Sprintf("layer %d: %v", e.Index, e.Err) }

// Unwrap gives the cause.
func (e *LayerError) Unwrap() error { return e.Err }

// WriteImage writes an image and commits w, which the caller closes. step, if not nil, is called by
// one goroutine at a time after each path of a derived layer and each content of the base commit,
// with how many there are. Errors: *LayerError, those of packages roottree, encapsulate and
// ocilayout, and the cause that ctx ended of.
func WriteImage(
	ctx context.Context, image Image, w *ocilayout.Writer, compression ocilayout.Compression, step func(total uint64),
) (ImageResult, error) {
	if err := document.CheckImage(image.Manifest, image.Config); err != nil {
		return ImageResult{}, err
	}
	i := &imageWriter{Image: image, kinds: document.Kinds(image.Config, len(image.Layers)), step: step}
	if err := i.open(ctx); err != nil {
		return ImageResult{}, err
	}
	layers := make([]writtenLayer, len(i.Layers))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxParallel))
	for n := range layers {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return context.Cause(groupCtx)
			}
			var err error
			layers[n].Descriptor, layers[n].diffID, err = w.AddLayer(groupCtx, compression, func(to io.Writer) error {
				return i.layer(groupCtx, to, n)
			})
			if err != nil {
				return &LayerError{n + 1, err}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return ImageResult{}, err
	}
	return i.documents(ctx, w, layers)
}

// writtenLayer is a layer of the image that is written.
type writtenLayer struct {
	ocispec.Descriptor
	diffID digest.Digest
}

// imageWriter writes one image.
type imageWriter struct {
	Image
	kinds  []string
	base   *encapsulate.Commit // nil for none
	chunks map[objects.Checksum]bool

	mu    sync.Mutex
	step  func(total uint64)
	total uint64
}

// open reads what must be known of all layers before one is written.
func (i *imageWriter) open(ctx context.Context) error {
	i.chunks = make(map[objects.Checksum]bool)
	for n, l := range i.Layers {
		var err error
		switch i.kinds[n] {
		case document.KindCommit:
			if i.base, err = encapsulate.Open(ctx, i.Repo, l.Commit); err == nil {
				i.total += uint64(i.base.Contents())
			}
		case document.KindChunk:
			var contents []objects.Checksum
			contents, err = i.contents(l)
			for _, c := range contents {
				i.chunks[c] = true
			}
		default:
			var count uint64
			count, err = roottree.Count(ctx, i.Repo, objects.TreeDir{Tree: l.Object.Tree, Meta: l.Object.Meta})
			i.total += count
		}
		if err != nil {
			return &LayerError{n + 1, err}
		}
	}
	return nil
}

// contents gives the contents of a chunk, sorted.
func (i *imageWriter) contents(chunk stored.Layer) ([]objects.Checksum, error) {
	tree, err := i.Repo.DirTree(chunk.Object.Tree)
	if err != nil {
		return nil, err
	}
	contents := make([]objects.Checksum, len(tree.Files))
	for n, f := range tree.Files { // which are called by their checksums
		contents[n] = f.Checksum
	}
	return contents, nil
}

// layer writes a layer's archive.
func (i *imageWriter) layer(ctx context.Context, to io.Writer, n int) error {
	switch l := i.Layers[n]; i.kinds[n] {
	case document.KindCommit:
		return i.base.WriteCommit(ctx, to, i.chunks, i.stepped)
	case document.KindChunk:
		contents, err := i.contents(l)
		if err != nil {
			return err
		}
		return i.base.WriteChunk(ctx, to, contents, i.stepped)
	default:
		tree, err := openLayer(i.Repo, l)
		if err != nil {
			return err
		}
		b := &below{image: i, n: n}
		return tree.write(ctx, to, func(path string) (bool, error) { return b.has(ctx, path) }, i.stepped)
	}
}

func (i *imageWriter) stepped() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.step != nil {
		i.step(i.total)
	}
}
