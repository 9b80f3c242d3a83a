package export

import (
	"context"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/merge"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// below is the tree that the layers below one make together. It is made when it is asked for, which
// is seldom.
type below struct {
	image *imageWriter
	n     int               // index of the layer
	st    *ostreerepo.Trial // nil until then
	root  objects.Checksum
	trail trail
}

// has reports whether there is a directory or a symbolic link at a path of the commit: what an
// implied directory leaves as it is. The root directory is there without any layer.
func (b *below) has(ctx context.Context, path string) (bool, error) {
	if path == "" || b.n == 0 {
		return path == "", nil
	}
	if b.st == nil {
		if err := b.make(ctx); err != nil {
			return false, err
		}
	}
	found, err := b.trail.lookup(b.root, path)
	if err != nil || found.IsDir() || !found.Exists() {
		return found.IsDir(), err
	}
	h, r, err := b.st.OpenFile(found.File)
	if err != nil {
		return false, err
	}
	return h.IsSymlink(), r.Close()
}

func (b *below) make(ctx context.Context) error {
	var base *objects.Commit
	var layers []objects.Checksum
	for n, l := range b.image.Layers[:b.n] {
		switch b.image.kinds[n] {
		case document.KindCommit:
			base = &l.Object
		case document.KindDerived:
			layers = append(layers, l.Commit)
		}
	}
	trial := b.image.Repo.NewTrial()
	tree, err := merge.Merge(ctx, trial, base, layers, merge.Options{Rules: layertar.ParseRules(b.image.Layers[b.n].Rules)})
	b.st, b.root, b.trail = trial, tree.Tree, trail{trees: trial}
	return err
}
