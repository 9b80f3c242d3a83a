package roottree

import (
	"context"
	"fmt"
	"io"
	"path"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Bounds of a tree.
const (
	maxEntries = 16 << 20 // paths
	maxPath    = 4096     // bytes of one
)

// Source reads objects. *ostreerepo.Repo does.
type Source interface {
	ostreerepo.Trees
	DirMeta(c objects.Checksum) (objects.DirMeta, error)
	OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error)
	FileSize(c objects.Checksum) (uint64, error)
}

// Entry is a path of a tree.
type Entry struct {
	Path string           // relative, "" for the root
	Dir  objects.TreeDir  // of a directory; else zero
	File objects.Checksum // of a regular file or a symlink; else zero
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return !e.Dir.Tree.IsZero() }

// at says where something went wrong.
func at(where string, err error) error {
	return fmt.Errorf("/%.200s: %w", where, err)
}

// Count tells how many paths a tree has, the root included. A tree beyond what is written out is an
// error. Errors: those of trees, with the path, and the cause that ctx ended of.
func Count(ctx context.Context, trees ostreerepo.Trees, root objects.TreeDir) (uint64, error) {
	c := counter{ctx: ctx, trees: trees, known: make(map[objects.Checksum]uint64)}
	n, err := c.count(root.Tree, "")
	if err != nil {
		return 0, err
	}
	if n >= maxEntries {
		return 0, fmt.Errorf("the tree has more than %d files and directories", maxEntries)
	}
	return n + 1, nil
}

// counter counts each dirtree once.
type counter struct {
	ctx   context.Context // of the one call that this value lives for
	trees ostreerepo.Trees
	known map[objects.Checksum]uint64
}

// count gives the number of paths below a directory, or maxEntries when there are more.
func (c *counter) count(tree objects.Checksum, where string) (uint64, error) {
	if n, known := c.known[tree]; known {
		return n, nil
	}
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	if err := checkPath(where); err != nil {
		return 0, err
	}
	t, err := c.trees.DirTree(tree)
	if err != nil {
		return 0, at(where, err)
	}
	n := uint64(len(t.Files) + len(t.Dirs))
	for _, d := range t.Dirs {
		below, err := c.count(d.Tree, path.Join(where, d.Name))
		if err != nil {
			return 0, err
		}
		n = min(n+below, maxEntries)
	}
	c.known[tree] = n
	return n, nil
}

func checkPath(where string) error {
	if len(where) > maxPath {
		return fmt.Errorf("/%.200s…: the path has more than %d bytes", where, maxPath)
	}
	return nil
}

// Walk visits every path of a tree: a directory before what is in it, and what is in it by name.
// Ask Count before, which refuses a tree that has no end. It stops at the first error, which is
// that of trees, with the path, or that of visit as it is, or the cause that ctx ended of.
func Walk(ctx context.Context, trees ostreerepo.Trees, root objects.TreeDir, visit func(Entry) error) error {
	return walk(ctx, trees, Entry{Dir: root}, visit)
}

func walk(ctx context.Context, trees ostreerepo.Trees, dir Entry, visit func(Entry) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := visit(dir); err != nil {
		return err
	}
	t, err := trees.DirTree(dir.Dir.Tree)
	if err != nil {
		return at(dir.Path, err)
	}
	files, dirs := t.Files, t.Dirs
	for len(files) > 0 || len(dirs) > 0 {
		if len(dirs) == 0 || len(files) > 0 && files[0].Name < dirs[0].Name {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err = visitFile(Entry{Path: path.Join(dir.Path, files[0].Name), File: files[0].Checksum}, visit)
			files = files[1:]
		} else {
			err = walk(ctx, trees, Entry{Path: path.Join(dir.Path, dirs[0].Name), Dir: dirs[0]}, visit)
			dirs = dirs[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func visitFile(e Entry, visit func(Entry) error) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	return visit(e)
}
