package importer

import (
	"context"
	"errors"
	"runtime"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// maxReaders is how many objects are read at once. What is read is in the page cache mostly, so
// that there is nothing to wait for.
const maxReaders = 4

// each calls do for 0 to n-1, several at once, and returns when all is done or, with its error,
// soon after ctx has ended.
func each(ctx context.Context, n int, do func(i int)) error {
	var group errgroup.Group
	group.SetLimit(min(maxReaders, runtime.GOMAXPROCS(0)))
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// holding is what the repository holds under an image ref, without the layers.
type holding struct {
	ref       ostreerepo.Ref
	image     stored.Image
	made      making
	kinds     []string             // of the layers
	layers    []ocispec.Descriptor // of the manifest, also of an image of which nothing else can be read
	signature string               // what the check of signatures said
	update    *Update              // that is recorded; nil for none
	err       error                // what is wrong
	whole     bool                 // image could be read
}

// hold reads what an image ref names.
func (im *Importer) hold(ctx context.Context, ref ostreerepo.Ref) holding {
	h := holding{ref: ref}
	if ref.Err != nil {
		h.image = stored.Image{Manifest: &ocispec.Manifest{}, Config: &document.Config{}}
		h.err = stored.RefError(ref.Name, ref.Err)
		return h
	}
	if h.image, h.err = stored.ReadImage(im.repo, ref.Commit); h.err != nil {
		if m, _, err := stored.Manifest(im.repo, ref.Commit); err == nil && m != nil {
			h.layers = m.Layers
		}
		return h
	}
	h.made = makingOf(&h.image)
	h.whole, h.kinds, h.layers = true, h.image.Kinds(), h.image.Manifest.Layers
	record, err := stored.ReadRecord(im.repo, ref.Name, h.image)
	h.signature = record.SignatureText
	if errors.Is(err, stored.ErrDetached) {
		h.err = err
		return h
	}
	if err == nil {
		var newer *stored.Image
		if newer, err = record.Newer(); newer != nil {
			h.update = im.describeUpdate(ctx, newer)
		}
	}
	if err != nil { // says nothing of the image itself, and the next check replaces it
		im.log.WithField("ref", ref.Name).WithError(err).Debug("reading the image's record")
	}
	return h
}

// forgetDocuments drops what a listing of many images needs no more, but which is most of the
// memory that they take.
func (h *holding) forgetDocuments() {
	h.image.Object, h.image.RawManifest, h.image.RawConfig = objects.Commit{}, nil, nil
}

// heldLayer is a layer, or why it can't be read.
type heldLayer struct {
	stored.Layer
	err error
}

// layersOf reads the layers of images, each once.
func (im *Importer) layersOf(ctx context.Context, images []holding) (map[digest.Digest]*heldLayer, error) {
	layers := map[digest.Digest]*heldLayer{}
	var digests []digest.Digest
	add := func(manifest *ocispec.Manifest) {
		for _, l := range manifest.Layers {
			if layers[l.Digest] == nil {
				layers[l.Digest] = &heldLayer{}
				digests = append(digests, l.Digest)
			}
		}
	}
	for i := range images {
		if images[i].whole {
			add(images[i].image.Manifest)
		}
	}
	err := each(ctx, len(digests), func(i int) {
		l := layers[digests[i]]
		l.Layer, l.err = stored.ReadLayer(im.repo, digests[i])
	})
	return layers, err
}

// owners counts, per layer, the images that have it.
type owners map[digest.Digest]int

func (o owners) add(layers []ocispec.Descriptor) {
	seen := make(map[digest.Digest]bool, len(layers))
	for _, l := range layers {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			o[l.Digest]++
		}
	}
}

// ownersOf counts those of all the images, of which only the manifests are read.
func (im *Importer) ownersOf(ctx context.Context, refs []ostreerepo.Ref) (owners, error) {
	manifests := make([]*ocispec.Manifest, len(refs))
	err := each(ctx, len(refs), func(i int) {
		if refs[i].Err == nil {
			manifests[i], _, _ = stored.Manifest(im.repo, refs[i].Commit) // of a broken image, which is nil, nothing is known
		}
	})
	o := owners{}
	for _, m := range manifests {
		if m != nil {
			o.add(m.Layers)
		}
	}
	return o, err
}

// measure sums up the distinct layers of an image.
func (o owners) measure(image *Image, layers []ocispec.Descriptor) {
	seen := make(map[digest.Digest]bool, len(layers))
	for _, l := range layers {
		if seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		size := uint64(max(0, l.Size))
		image.Size += size
		if o[l.Digest] > 1 {
			image.SizeShared += size
		} else {
			image.SizeUnique += size
		}
	}
}
