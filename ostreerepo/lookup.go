package ostreerepo

import (
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Trees reads directories. *Repo and *Staging do.
type Trees interface {
	DirTree(c objects.Checksum) (objects.DirTree, error)
}

// Found is what Lookup finds: a directory, or something else, whose checksum is then File's, or
// nothing.
type Found struct {
	Dir  objects.TreeDir  // without a name; Meta is zero where path is empty
	File objects.Checksum // of a regular file or a symlink; zero for none
}

// IsDir reports whether a directory was found.
func (f Found) IsDir() bool { return !f.Dir.Tree.IsZero() }

// Exists reports whether anything was found.
func (f Found) Exists() bool { return f.IsDir() || !f.File.IsZero() }

// Lookup finds what a path leads to from the directory root, without following symlinks. The path
// is relative, its components are separated by single slashes; the empty one is root itself. A path
// that leads nowhere is no error. Errors are those of trees.
func Lookup(trees Trees, root objects.Checksum, path string) (Found, error) {
	found := Found{Dir: objects.TreeDir{Tree: root}}
	if path == "" {
		return found, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if !found.IsDir() {
			return Found{}, nil
		}
		tree, err := trees.DirTree(found.Dir.Tree)
		if err != nil {
			return Found{}, err
		}
		found = child(tree, name)
	}
	return found, nil
}

func child(tree objects.DirTree, name string) Found {
	if i, ok := slices.BinarySearchFunc(tree.Dirs, name, func(d objects.TreeDir, name string) int { return strings.Compare(d.Name, name) }); ok {
		return Found{Dir: objects.TreeDir{Tree: tree.Dirs[i].Tree, Meta: tree.Dirs[i].Meta}}
	}
	if i, ok := slices.BinarySearchFunc(tree.Files, name, func(f objects.TreeFile, name string) int { return strings.Compare(f.Name, name) }); ok {
		return Found{File: tree.Files[i].Checksum}
	}
	return Found{}
}
