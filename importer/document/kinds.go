package document

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels of a config, as ostree-ext writes and reads them.
const (
	// LabelCommit names the OSTree commit that was encapsulated. It is for information: who derives
	// an image may keep it or not.
	LabelCommit = "ostree.commit"
	// LabelFinalDiffID says that the image encapsulates an OSTree commit, and names by its diff ID
	// the last layer that belongs to that.
	LabelFinalDiffID = "ostree.final-diffid"
	// LabelBootable and LabelBootc, whatever their values, say that a host can boot the image.
	LabelBootable = "ostree.bootable"
	LabelBootc    = "containers.bootc"
)

// The kinds of layers.
const (
	KindCommit  = "ostree-commit" // the first layer of an encapsulated commit: the commit and its directories
	KindChunk   = "ostree-chunk"  // contents of the encapsulated commit
	KindDerived = "derived"       // files of the image
)

// Bootable reports whether the image says that a host can boot it.
func (c *Config) Bootable() bool {
	for _, label := range []string{LabelBootable, LabelBootc} {
		if _, ok := c.Config.Labels[label]; ok {
			return true
		}
	}
	return false
}

// Kinds gives the kind of every layer: all are derived, unless the label names the last layer of an
// encapsulated OSTree commit. Of several layers with that diff ID the first counts.
func Kinds(c *Config, layers int) []string {
	last := -1
	if id, ok := c.Config.Labels[LabelFinalDiffID]; ok {
		last = indexOf(c.RootFS.DiffIDs, id)
	}
	kinds := make([]string, layers)
	for i := range kinds {
		switch {
		case i > last:
			kinds[i] = KindDerived
		case i == 0:
			kinds[i] = KindCommit
		default:
			kinds[i] = KindChunk
		}
	}
	return kinds
}

func indexOf(diffIDs []digest.Digest, id string) int {
	for i, diffID := range diffIDs {
		if string(diffID) == id {
			return i
		}
	}
	return -1
}

// checkKinds refuses an image of which it is not clear which layers are those of an encapsulated
// commit. A repository keeps a layer under its digest alone, so one blob can't be two kinds of
// layers either.
func checkKinds(m *ocispec.Manifest, c *Config) error {
	id, ok := c.Config.Labels[LabelFinalDiffID]
	if !ok {
		return nil
	}
	if indexOf(c.RootFS.DiffIDs, id) < 0 {
		return fmt.Errorf("the label %s says that the encapsulated OSTree commit ends with the layer of diff ID %.100q, but the image has no such layer: "+
			"remove the label, which an image keeps when it is rebuilt with other layers", LabelFinalDiffID, id)
	}
	kinds := Kinds(c, len(m.Layers))
	first := map[digest.Digest]int{}
	for i, l := range m.Layers {
		j, again := first[l.Digest]
		if again && kinds[i] != kinds[j] {
			return fmt.Errorf("layers %d and %d are the same blob %s, once as %s and once as %s", j+1, i+1, l.Digest, kinds[j], kinds[i])
		}
		if !again {
			first[l.Digest] = i
		}
	}
	return nil
}
