package ostreerepo

import (
	"context"
	"fmt"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Bounds of a tree that Complete accepts. A few objects are enough to describe a tree of any size,
// since a directory may stand in it many times, and whoever walks all its paths would never end.
const (
	maxTreePath    = 4096     // bytes of the longest path
	maxTreeEntries = 64 << 20 // paths
)

// Complete returns nil if every object that the commit reaches, except for its parent, is in the
// staging or in the repository: all that Land needs. It reads the directories and only looks for
// the files. The error for the first that is missing wraps ErrNoObject and names its path. Other
// errors: ErrCorrupted, the cause that ctx ended of.
func (s *Staging) Complete(ctx context.Context, commit objects.Checksum) error {
	c, err := s.Commit(commit)
	if err == nil {
		w := &completion{staging: s, trees: make(map[objects.Checksum]treeSize), metas: make(map[objects.Checksum]bool)}
		_, err = w.dir(ctx, objects.TreeDir{Tree: c.Tree, Meta: c.Meta}, "/")
	}
	if err != nil {
		return fmt.Errorf("complete commit %s: %w", commit, err)
	}
	return nil
}

// completion remembers what was found, since most directories of a system differ but not all do.
type completion struct {
	staging *Staging
	trees   map[objects.Checksum]treeSize
	metas   map[objects.Checksum]bool
}

// treeSize is how long the longest path below a directory is, in bytes, and how many there are.
type treeSize struct{ longest, entries int }

// dir looks at the directory at path, which ends with a slash.
func (w *completion) dir(ctx context.Context, d objects.TreeDir, path string) (treeSize, error) {
	if !w.metas[d.Meta] {
		if _, err := w.staging.DirMeta(d.Meta); err != nil {
			return treeSize{}, fmt.Errorf("%s: %w", path, err)
		}
		w.metas[d.Meta] = true
	}
	size, known := w.trees[d.Tree]
	if !known {
		var err error
		if size, err = w.tree(ctx, d.Tree, path); err != nil {
			return treeSize{}, err
		}
		w.trees[d.Tree] = size
	}
	if len(path)+size.longest > maxTreePath {
		return treeSize{}, fmt.Errorf("%.200s…: there are paths of more than %d bytes", path, maxTreePath)
	}
	return size, nil
}

// tree looks at what a directory holds.
func (w *completion) tree(ctx context.Context, c objects.Checksum, path string) (treeSize, error) {
	if ctx.Err() != nil {
		return treeSize{}, context.Cause(ctx)
	}
	// Before going on down: what is too deep need not be found out at its end.
	if len(path) > maxTreePath {
		return treeSize{}, fmt.Errorf("%.200s…: the path has more than %d bytes", path, maxTreePath)
	}
	tree, err := w.staging.DirTree(c)
	if err != nil {
		return treeSize{}, fmt.Errorf("%s: %w", path, err)
	}
	size := treeSize{entries: len(tree.Files) + len(tree.Dirs)}
	for _, f := range tree.Files {
		if !w.staging.Has(objects.KindFile, f.Checksum) {
			return treeSize{}, fmt.Errorf("%s%s: %w: %s %s", path, f.Name, ErrNoObject, objects.KindFile, f.Checksum)
		}
		size.longest = max(size.longest, len(f.Name))
	}
	for _, child := range tree.Dirs {
		below, err := w.dir(ctx, child, path+child.Name+"/")
		if err != nil {
			return treeSize{}, err
		}
		size.longest = max(size.longest, len(child.Name)+1+below.longest)
		size.entries += below.entries
		if size.entries > maxTreeEntries {
			return treeSize{}, fmt.Errorf("%s: the directory has more than %d entries", path, maxTreeEntries)
		}
	}
	return size, nil
}
