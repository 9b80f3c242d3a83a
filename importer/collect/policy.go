package collect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// chooseImages marks the images that the policy drops. Those that can't be read, or that a deployment or pin needs, stay.
func (s *surveyed) chooseImages(p Policy) {
	kept := s.keepLast(p)
	if p.Quota == 0 {
		return
	}
	// Oldest first, until what is left fits.
	slices.Reverse(kept)
	for len(kept) > 0 {
		size := s.ownBytes(kept)
		if size <= p.Quota {
			return
		}
		kept[0].drop("the images that no deployment uses take %d bytes, more than %d, and it is the oldest of them", size, p.Quota)
		kept = kept[1:]
	}
}

// keepLast drops all but the youngest undeployed images of each repository name, and gives those that are kept, the youngest
// first.
func (s *surveyed) keepLast(p Policy) []*owner {
	var kept []*owner
	seen := map[string]int{}
	for _, i := range s.undeployed() {
		name := repositoryName(i.Name)
		seen[name]++
		switch {
		case p.KeepLast == 0 && p.Quota == 0:
			i.drop("no deployment uses it")
		case p.KeepLast > 0 && seen[name] > p.KeepLast:
			i.drop("no deployment uses it, and %d younger of %s are kept", p.KeepLast, name)
		default:
			i.Reason = "among those that the policy keeps"
			kept = append(kept, i)
		}
	}
	return kept
}

func (o *owner) drop(format string, args ...any) {
	o.Delete, o.Reason = true, fmt.Sprintf(format, args...)
}

// undeployed lists the images that can be read and that neither a deployment nor a pin needs, the youngest first.
func (s *surveyed) undeployed() []*owner {
	var list []*owner
	for _, i := range s.images {
		if i.manifest != nil && !slices.ContainsFunc(s.others, i.isSame) {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b *owner) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.Ref, b.Ref))
	})
	return list
}

// isSame tells whether both stand for one image.
func (o *owner) isSame(other *owner) bool {
	return o.commit == other.commit || o.digest != "" && o.digest == other.digest
}

// ownBytes is the compressed size of the layers that nothing but these images needs.
func (s *surveyed) ownBytes(images []*owner) uint64 {
	own := map[digest.Digest]uint64{}
	for _, i := range images {
		for _, l := range i.manifest.Layers {
			own[l.Digest] = uint64(max(0, l.Size))
		}
	}
	for _, o := range slices.Concat(s.images, s.others) {
		if o.manifest == nil || o.Delete || slices.Contains(images, o) {
			continue
		}
		for _, l := range o.manifest.Layers {
			delete(own, l.Digest)
		}
	}
	var sum uint64
	for size := range maps.Values(own) {
		sum += size
	}
	return sum
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
