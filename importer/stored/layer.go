package stored

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Layer is a layer as its commit tells it.
type Layer struct {
	Ref    string
	Commit objects.Checksum // zero when the layer is missing or damaged
	Object objects.Commit   // what Commit names
	Kind   string           // one of package document's kinds, by what the commit looks like

	// Ours says that this program wrote a derived layer's commit, and that no other one has
	// rewritten it: what follows is right.
	Ours bool
	// Of a derived layer's commit. All are "" when another importer wrote it, which doesn't say.
	DiffID   digest.Digest
	Rules    string
	Policy   string // the ID of the SELinux policy that its files are labelled by; "" also when they are not
	Filtered map[string]uint32
}

// IsForeign reports whether another program has written a derived layer's commit, with none of our
// metadata in it.
func (l *Layer) IsForeign() bool { return l.Kind == document.KindDerived && !l.Ours && l.Rules == "" }

// CheckKind returns nil if the layer's commit is of this kind, or the kind is "", which is not
// known.
func (l *Layer) CheckKind(kind string) error {
	if kind == "" || l.Kind == kind {
		return nil
	}
	return fmt.Errorf("%w: commit %s is not one of a layer of the kind %q: another image has the same blob as something else",
		ostreerepo.ErrNoObject, l.Commit, kind)
}

// ReadLayer reads the commit of a layer. The ref is returned along with the error when the digest
// has one.
func ReadLayer(repo *ostreerepo.Repo, d digest.Digest) (Layer, error) {
	ref, err := reference.BlobRef(d)
	if err != nil {
		return Layer{}, err
	}
	l := Layer{Ref: ref}
	commit, err := repo.Resolve(ref)
	if err != nil {
		return l, RefError(ref, err)
	}
	read, err := ReadLayerCommit(repo, commit)
	read.Ref = ref
	return read, err
}

// ReadLayerCommit reads a layer's commit, whatever ref names it.
func ReadLayerCommit(repo *ostreerepo.Repo, commit objects.Checksum) (Layer, error) {
	c, err := repo.Commit(commit)
	if err != nil {
		return Layer{}, err
	}
	if err := checkTree(repo, commit, c); err != nil {
		return Layer{}, err
	}
	l := Layer{Commit: commit, Object: c}
	if l.Kind, err = KindOf(repo, c); err != nil {
		return Layer{}, err
	}
	if text, ok := c.Metadata[layertar.MetaDiffID].AsString(); ok {
		l.DiffID = digest.Digest(text)
	}
	tree, _ := c.Metadata[layertar.MetaTree].AsString()
	l.Ours = tree == layertar.TreeID(objects.TreeDir{Tree: c.Tree, Meta: c.Meta})
	l.Rules, _ = c.Metadata[layertar.MetaRules].AsString()
	l.Policy, _ = c.Metadata[layertar.MetaPolicy].AsString()
	l.Filtered, _ = c.Metadata[layertar.MetaFiltered].AsCounts()
	return l, nil
}

// ownMetadata begins the keys of metadata that only this program writes.
const ownMetadata = "ostree-importd."

// KindOf tells what kind of layer a commit stands for, by what the importers write:
//
//	derived         metadata ostree-importd.path-rules, or ostree.importer.version and nothing else
//	ostree-chunk    no metadata, timestamp 0, and a root directory with nothing but files that are named by their checksums
//	ostree-commit   anything else, being made by whoever made the encapsulated commit
//
// Other metadata ostree-importd.* is that of no layer, and the kind is "".
func KindOf(trees ostreerepo.Trees, c objects.Commit) (string, error) {
	if _, ok := c.Metadata[layertar.MetaRules]; ok {
		return document.KindDerived, nil
	}
	for key := range c.Metadata {
		if strings.HasPrefix(key, ownMetadata) {
			return "", nil
		}
	}
	if _, ok := c.Metadata[layertar.MetaImporter]; ok && len(c.Metadata) == 1 {
		return document.KindDerived, nil
	}
	if len(c.Metadata) > 0 || c.Timestamp != 0 || !c.Parent.IsZero() || c.Subject != "" || c.Body != "" {
		return document.KindCommit, nil
	}
	tree, err := trees.DirTree(c.Tree)
	if err != nil {
		return "", err
	}
	if len(tree.Dirs) > 0 {
		return document.KindCommit, nil
	}
	for _, f := range tree.Files {
		if f.Name != f.Checksum.String() {
			return document.KindCommit, nil
		}
	}
	return document.KindChunk, nil
}
