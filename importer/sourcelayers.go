package importer

import (
	"context"
	"fmt"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// sourceLayers knows how a source stores the layers of an image. It asks once, when the first layer
// is wanted.
type sourceLayers struct {
	once   sync.Once
	layers []ocispec.Descriptor // nil: as the manifest says
	err    error
}

// layer gives what to ask the source for, and what has to come then. Whatever the source says, it
// is content with the layer's diff ID: a blob with another digest than the manifest's is accepted
// only when that digest is the diff ID.
func (s *sourceLayers) layer(ctx context.Context, source Source, index int, l LayerPlan) (blob.Layer, error) {
	want := blob.Layer{
		Descriptor: ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: int64(l.Size)},
		DiffID:     l.DiffID,
	}
	other, ok := source.(LayerSource)
	if !ok {
		return want, nil
	}
	s.once.Do(func() { s.layers, s.err = other.Layers(ctx) })
	switch {
	case s.err != nil:
		return blob.Layer{}, s.err
	case index >= len(s.layers):
		return blob.Layer{}, fmt.Errorf("the source has %d layers of the image, but its manifest has more", len(s.layers))
	}
	switch has := s.layers[index]; has.Digest {
	case l.Digest:
	case l.DiffID:
		want.Descriptor.Digest, want.Descriptor.Size = has.Digest, max(has.Size, -1)
	default:
		return blob.Layer{}, fmt.Errorf("the source has the layer as %.100q, which is neither its digest nor its diff ID %s", has.Digest, l.DiffID)
	}
	return want, nil
}
