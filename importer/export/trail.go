package export

import (
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// trail remembers the directories on the way to the last path that was looked up. The paths of a
// walk have most of their way in common, and a layer with a hundred thousand directories in one
// would otherwise have that read for each of them.
type trail struct {
	trees ostreerepo.Trees
	steps []step // by depth
	depth int    // of the directory that lookup reads next
}

// step is a directory on the way.
type step struct {
	tree objects.Checksum
	objects.DirTree
}

// dir reads a directory at a depth of the way.
func (t *trail) dir(depth int, tree objects.Checksum) (objects.DirTree, error) {
	if depth < len(t.steps) && t.steps[depth].tree == tree {
		return t.steps[depth].DirTree, nil
	}
	d, err := t.trees.DirTree(tree)
	if err == nil {
		t.steps = append(t.steps[:depth], step{tree, d})
	}
	return d, err
}

// DirTree is dir for the next depth.
func (t *trail) DirTree(tree objects.Checksum) (objects.DirTree, error) {
	t.depth++
	return t.dir(t.depth-1, tree)
}

// lookup is ostreerepo.Lookup.
func (t *trail) lookup(root objects.Checksum, path string) (ostreerepo.Found, error) {
	t.depth = 0
	return ostreerepo.Lookup(t, root, path)
}
