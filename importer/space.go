package importer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// annotationUncompressed is the annotation by which some builders tell the size of a layer's
// uncompressed archive, in bytes.
const annotationUncompressed = "io.containers.estargz.uncompressed-size"

// checkSpace refuses to begin with layers that can't fit. What a compressed layer takes is known
// only where the image says so; else it counts with the size of its blob, less than which it hardly
// takes.
func (im *Importer) checkSpace(plan *Plan) error {
	m, _, err := plan.documents()
	if err != nil {
		return err
	}
	var needed uint64
	seen := map[digest.Digest]bool{}
	for i, l := range plan.Layers {
		if !l.Cached && !seen[l.Digest] {
			needed += im.layerSpace(m.Layers[i])
		}
		seen[l.Digest] = true
	}
	free, keep, err := im.repo.Space()
	if err != nil {
		return classify(StagePlan, err)
	}
	usable := free - min(free, keep)
	if needed <= usable {
		return nil
	}
	return &Error{
		Kind: KindNoSpace, Stage: StagePlan,
		Err: fmt.Errorf("%d layers to fetch need at least %d bytes, but %d are free in %s, of which its configuration keeps %d",
			plan.LayersToFetch, needed, free, im.repo.Path(), keep),
		Hint: "nothing was fetched; `ostree-importctl gc` and `ostree-importctl remove` make room",
	}
}

// layerSpace is what a layer takes in the repository, as far as that is known before it is fetched.
func (im *Importer) layerSpace(l ocispec.Descriptor) uint64 {
	blob := uint64(max(0, l.Size))
	if im.repo.Mode() == ostreerepo.ModeArchive {
		return blob // its files are compressed
	}
	size, err := strconv.ParseUint(l.Annotations[annotationUncompressed], 10, 46)
	if err != nil || strings.HasSuffix(l.MediaType, ".tar") {
		return blob
	}
	return max(blob, size)
}
