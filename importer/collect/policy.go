package collect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// chooseImages marks the images that the policy drops. Those that can't be read, or that a
// deployment or pin needs, stay.
func (s *surveyed) chooseImages(p Policy) {
	kept := s.keepLast(p)
	if p.Quota == 0 {
		return
	}
	// Oldest first, until what is left fits.
	own := s.ownLayers(kept)
	for i, oldest := range slices.Backward(kept) {
		if own.bytes <= p.Quota {
			return
		}
		why := ""
		if i > 0 {
			why = ": " + whyYounger(kept[i-1], oldest)
		}
		oldest.drop("the images that no deployment uses take %d bytes, more than %d, and it is the oldest of them%s", own.bytes, p.Quota, why)
		own.remove(oldest)
	}
}

// keepLast drops all but the youngest undeployed images of each repository name, and gives those
// that are kept, the youngest first.
func (s *surveyed) keepLast(p Policy) []*owner {
	var kept []*owner
	byName := map[string][]*owner{}
	for _, i := range s.undeployed() {
		name := repositoryName(i.Name)
		same := byName[name]
		switch {
		case p.KeepLast == 0 && p.Quota == 0:
			i.drop("no deployment uses it")
		case p.KeepLast > 0 && len(same) == p.KeepLast:
			i.drop("no deployment uses it, and %d younger of %s are kept: %s", p.KeepLast, name, whyYounger(same[len(same)-1], i))
		default:
			i.Reason = "among those that the policy keeps"
			kept, byName[name] = append(kept, i), append(same, i)
		}
	}
	return kept
}

func (o *owner) drop(format string, args ...any) {
	o.Delete, o.Reason = true, fmt.Sprintf(format, args...)
}

// undeployed lists the images that can be read and that neither a deployment nor a pin needs, the
// youngest first.
func (s *surveyed) undeployed() []*owner {
	var list []*owner
	for _, i := range s.images {
		if i.manifest != nil && !i.needed {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, youngestFirst)
	return list
}

// youngestFirst orders images by when they were created, then by when they were imported, because
// builds that are to be reproducible all say the same time of creation, and then by name.
// whyYounger tells which of the three has decided.
func youngestFirst(a, b *owner) int {
	return cmp.Or(b.created.Compare(a.created), b.imported.Compare(a.imported), cmp.Compare(a.Ref, b.Ref))
}

// whyYounger says by what youngestFirst puts one image before another.
func whyYounger(younger, older *owner) string {
	created := "was created at the same time"
	if younger.created.IsZero() {
		created = "says no time of creation either"
	}
	switch {
	case !younger.created.Equal(older.created) && older.created.IsZero():
		return younger.Name + " says when it was created"
	case !younger.created.Equal(older.created):
		return younger.Name + " was created later"
	case !younger.imported.Equal(older.imported):
		return fmt.Sprintf("%s %s, and was imported later", younger.Name, created)
	}
	return fmt.Sprintf("%s %s, was imported at the same time, and comes first by name", younger.Name, created)
}

// identities are the commits and manifest digests of some owners.
type identities struct {
	commits map[objects.Checksum]*owner
	digests map[digest.Digest]*owner
}

func identitiesOf(all []*owner) identities {
	i := identities{make(map[objects.Checksum]*owner), make(map[digest.Digest]*owner)}
	for _, o := range slices.Backward(all) { // the first one counts
		i.commits[o.commit] = o
		if o.digest != "" {
			i.digests[o.digest] = o
		}
	}
	return i
}

// sameAs returns the first by ref that stands for the same image as o, or nil.
func (i identities) sameAs(o *owner) *owner {
	byCommit, byDigest := i.commits[o.commit], i.digests[o.digest]
	if byCommit == nil || byDigest != nil && byDigest.Ref < byCommit.Ref {
		return byDigest
	}
	return byCommit
}

// ownLayers are the layers that nothing but some images needs.
type ownLayers struct {
	layers map[digest.Digest]*ownLayer
	bytes  uint64 // compressed
}

// ownLayer is a layer, and how many of the images need it.
type ownLayer struct {
	images int
	size   uint64
}

// ownLayers looks at all that needs layers.
func (s *surveyed) ownLayers(images []*owner) *ownLayers {
	own := &ownLayers{layers: make(map[digest.Digest]*ownLayer)}
	among := make(map[*owner]bool, len(images))
	for _, i := range images {
		among[i] = true
		own.add(i)
	}
	for _, o := range slices.Concat(s.images, s.others) {
		if o.manifest == nil || o.Delete || among[o] {
			continue
		}
		for _, l := range o.manifest.Layers {
			if layer := own.layers[l.Digest]; layer != nil {
				own.bytes -= layer.size
				delete(own.layers, l.Digest)
			}
		}
	}
	return own
}

func (o *ownLayers) add(image *owner) {
	for digest, size := range sizesOf(image) {
		layer := o.layers[digest]
		if layer == nil {
			layer = &ownLayer{size: size}
			o.layers[digest] = layer
			o.bytes += size
		}
		layer.images++
	}
}

// remove takes one of the images out.
func (o *ownLayers) remove(image *owner) {
	for digest := range sizesOf(image) {
		layer := o.layers[digest]
		if layer == nil {
			continue
		}
		if layer.images--; layer.images == 0 {
			o.bytes -= layer.size
			delete(o.layers, digest)
		}
	}
}

// sizesOf gives the compressed sizes of an image's layers, in bytes.
func sizesOf(image *owner) map[digest.Digest]uint64 {
	sizes := make(map[digest.Digest]uint64, len(image.manifest.Layers))
	for _, l := range image.manifest.Layers {
		sizes[l.Digest] = uint64(max(0, l.Size))
	}
	return sizes
}

// repositoryName is an image's name without tag and digest.
func repositoryName(name string) string {
	image, err := reference.ParseImage(name)
	if err != nil {
		return name
	}
	text, _, _ := strings.Cut(image.String(), "@")
	if tag := strings.LastIndexByte(text, ':'); tag > strings.LastIndexByte(text, '/') && tag > strings.IndexByte(text, ':') {
		return text[:tag]
	}
	return text
}
