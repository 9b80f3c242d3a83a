package importer

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Unverified is a part of a stored image that this program has not verified: it may be whole, and
// yet be another thing than the image has. Other programs give a layer its ref before they know
// whether its digest is right. Request.RequireVerified fetches and verifies it.
type Unverified struct {
	Layer      digest.Digest `json:"layer,omitempty"` // "" when it is the image's own commit
	LayerIndex int           `json:"layer-index,omitempty"`
	Reason     string        `json:"reason"`
	// VerifiedBy names the option with which an import verifies it.
	VerifiedBy string `json:"verified-by"`
}

// requireVerified is the name of Request.RequireVerified.
const requireVerified = "require-verified"

// unverified lists what is not verified of a stored image, by its layers as far as they could be
// read. What is damaged is not its concern. Chunks only carry objects, whose names are checked, of
// the commit in the first layer: they are verified with that.
func (im *Importer) unverified(
	image *stored.Image, made making, layers []stored.Layer,
) []Unverified {
	var list []Unverified
	if reason := made.doubtMerge(layers); reason != "" {
		list = append(list, Unverified{Reason: reason, VerifiedBy: requireVerified})
	}
	for i, l := range layers {
		if l.Commit.IsZero() {
			continue
		}
		if reason := im.doubtLayer(image, made, i, l); reason != "" {
			layer := image.Manifest.Layers[i].Digest
			list = append(list, Unverified{
				Layer: layer, LayerIndex: i + 1, Reason: reason, VerifiedBy: requireVerified,
			})
		}
	}
	return list
}

// making is what the commit of a stored image tells of how it was made.
type making struct {
	here bool // this program has made it: nobody else writes that into a commit
	// proven says that manifest and config are the ones that the manifest's digest stands for. This
	// program checks both before it stores them. Of another program's image they can be checked
	// where the origin has them in canonical form too.
	proven bool
	tree   objects.TreeDir
}

func makingOf(image *stored.Image) making {
	by, _ := image.Object.Metadata[layertar.MetaImporter].AsString()
	m := making{here: by == layertar.Importer, tree: treeOf(&image.Object)}
	m.proven = m.here || isDigestOf(image.Digest, image.RawManifest) &&
		isDigestOf(image.Manifest.Config.Digest, image.RawConfig)
	return m
}

func treeOf(c *objects.Commit) objects.TreeDir { return objects.TreeDir{Tree: c.Tree, Meta: c.Meta} }

func isDigestOf(d digest.Digest, content []byte) bool {
	return d.Validate() == nil && d.Algorithm().FromBytes(content) == d
}

// doubtMerge says why nobody knows whether an image's commit is what its layers make together, ""
// if that is known or can be found out.
func (m making) doubtMerge(layers []stored.Layer) string {
	if m.here {
		return ""
	}
	if len(layers) > 0 && !hasDerived(layers) && m.tree == treeOf(&layers[0].Object) {
		return "" // the tree is the first layer's
	}
	return "another program has made the image's commit of its layers, by rules of its own"
}

func hasDerived(layers []stored.Layer) bool {
	for _, l := range layers {
		if l.Kind == document.KindDerived {
			return true
		}
	}
	return false
}

// doubtLayer says why a layer that is here is not known to be the image's, "" if it is.
func (im *Importer) doubtLayer(image *stored.Image, made making, index int, l stored.Layer) string {
	switch {
	case slices.Contains(image.Unverified, image.Manifest.Layers[index].Digest):
		return "the image was made of the layer as another program had stored it"
	case l.Kind == document.KindDerived && !l.Ours:
		return "its commit is another program's, which does not tell whether the digest was right"
	case l.Kind == document.KindDerived && l.DiffID != diffIDOf(image, index):
		return "its commit holds the layer with the diff ID " + l.DiffID.String()
	case l.Kind == document.KindCommit && !im.provenCommit(image, made, l):
		return fmt.Sprintf("nothing tells whether commit %s is the one in the layer: the image has no "+
			"label %s that this program has verified, and it has not fetched the layer", l.Commit, document.LabelCommit)
	}
	return ""
}

func diffIDOf(image *stored.Image, index int) digest.Digest {
	if index >= len(image.Config.RootFS.DiffIDs) {
		return ""
	}
	return image.Config.RootFS.DiffIDs[index]
}

// provenCommit tells whether a commit is the one in the first layer of a stored image.
func (im *Importer) provenCommit(image *stored.Image, made making, l stored.Layer) bool {
	return made.proven && image.Config.Config.Labels[document.LabelCommit] == l.Commit.String() ||
		stored.HasLayerRecord(im.repo, l.Ref, l.Commit)
}

// provenBase tells whether a stored commit is the one in the first layer of the plan's image, whose
// config is verified.
func (p *Prepared) provenBase(commit objects.Checksum) bool {
	return p.plan.namedCommit() == commit.String() ||
		stored.HasLayerRecord(p.im.repo, p.plan.Layers[0].Ref, commit)
}

// verified tells whether an import may take a stored image as it is, as far as
// Request.RequireVerified and Request.ReuseForeign are concerned.
func (p *Prepared) verified(s *stored.Image) bool {
	if len(s.Unverified) > 0 && !p.plan.Request.ReuseForeign {
		return false
	}
	return !p.plan.Request.RequireVerified ||
		len(p.im.unverified(s, makingOf(s), p.im.layersHeld(s))) == 0
}

// layersHeld reads the layers of an image. Those that cannot be read have no commit.
func (im *Importer) layersHeld(s *stored.Image) []stored.Layer {
	layers := make([]stored.Layer, len(s.Manifest.Layers))
	for i, l := range s.Manifest.Layers {
		if held, err := stored.ReadLayer(im.repo, l.Digest); err == nil {
			layers[i] = held
		}
	}
	return layers
}

// unverifiedOf is unverified for an image of a listing.
func (im *Importer) unverifiedOf(h *holding, layers map[digest.Digest]*heldLayer) []Unverified {
	if !h.whole {
		return nil
	}
	held := make([]stored.Layer, len(h.image.Manifest.Layers))
	for i, l := range h.image.Manifest.Layers {
		held[i] = layers[l.Digest].Layer
	}
	return im.unverified(&h.image, h.made, held)
}
