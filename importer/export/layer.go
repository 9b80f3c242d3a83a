package export

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// layerTree is the tree of a derived layer's commit with the top-level directories where the image has them: what the path rules have
// moved is moved back. It reads directories that it has changed, and everything else from the repository.
type layerTree struct {
	*ostreerepo.Repo
	changed map[objects.Checksum]objects.DirTree
	root    objects.TreeDir
	moved   map[string]string // top-level directories of the image, and the paths that they have in the commit
	implied map[string]bool   // paths in the image of directories that the archive didn't list
}

// DirTree reads a directory.
func (t *layerTree) DirTree(c objects.Checksum) (objects.DirTree, error) {
	if tree, ok := t.changed[c]; ok {
		return tree, nil
	}
	return t.Repo.DirTree(c)
}

// openLayer reads the tree of a derived layer's commit.
func openLayer(repo *ostreerepo.Repo, l stored.Layer) (*layerTree, error) {
	t := &layerTree{
		Repo: repo, changed: make(map[objects.Checksum]objects.DirTree), implied: make(map[string]bool), moved: layertar.ParseRules(l.Rules).Moved(),
		root: objects.TreeDir{Tree: l.Object.Tree, Meta: l.Object.Meta},
	}
	for _, top := range []string{"etc", "var"} {
		place, ok := t.moved[top]
		if !ok {
			continue
		}
		if err := t.moveBack(place, top); err != nil {
			return nil, err
		}
	}
	implied, _ := l.Object.Metadata[layertar.MetaImplied].AsStrings() // the merge has refused one of another type
	for _, path := range implied {
		t.implied[t.inImage(path)] = true
	}
	return t, nil
}

// inImage gives the image's path of a path in the commit.
func (t *layerTree) inImage(path string) string {
	for top, place := range t.moved {
		if path == place || strings.HasPrefix(path, place+"/") {
			return top + path[len(place):]
		}
	}
	return path
}

// inCommit is the inverse of inImage.
func (t *layerTree) inCommit(path string) string {
	top, rest, _ := strings.Cut(path, "/")
	place, ok := t.moved[top]
	if !ok {
		return path
	}
	return strings.TrimSuffix(place+"/"+rest, "/")
}

// removes reports whether a marker in the layer removes what the layers below have at a path of the image.
func (t *layerTree) removes(path string) (bool, error) {
	dir := t.root.Tree
	for path != "" {
		d, err := t.DirTree(dir)
		if err != nil {
			return false, err
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		if hasName(d, opaqueMarker) || hasName(d, whiteoutPrefix+name) {
			return true, nil
		}
		i := slices.IndexFunc(d.Dirs, func(d objects.TreeDir) bool { return d.Name == name })
		if i < 0 {
			return false, nil
		}
		dir = d.Dirs[i].Tree
	}
	return false, nil
}

// moveBack moves what is at place, and its whiteout, to the top level. A top level that is there already stays as it is.
func (t *layerTree) moveBack(place, top string) error {
	root, err := t.DirTree(t.root.Tree)
	if err != nil {
		return err
	}
	for _, prefix := range []string{"", whiteoutPrefix} {
		dir, base := splitPath(place)
		found, err := ostreerepo.Lookup(t, t.root.Tree, join(dir, prefix+base))
		if err != nil {
			return err
		}
		if !found.Exists() || hasName(root, prefix+top) {
			continue
		}
		if t.root.Tree, err = t.without(t.root.Tree, strings.Split(join(dir, prefix+base), "/")); err != nil {
			return err
		}
		if root, err = t.DirTree(t.root.Tree); err != nil {
			return err
		}
		root = withEntry(root, prefix+top, found)
		t.root.Tree = t.change(root)
	}
	return nil
}

// without gives the directory tree with what is at path taken out.
func (t *layerTree) without(tree objects.Checksum, path []string) (objects.Checksum, error) {
	d, err := t.DirTree(tree)
	if err != nil {
		return objects.Checksum{}, err
	}
	if len(path) == 1 {
		d.Files = slices.DeleteFunc(slices.Clone(d.Files), func(f objects.TreeFile) bool { return f.Name == path[0] })
		d.Dirs = slices.DeleteFunc(slices.Clone(d.Dirs), func(d objects.TreeDir) bool { return d.Name == path[0] })
		return t.change(d), nil
	}
	d.Dirs = slices.Clone(d.Dirs)
	for i := range d.Dirs {
		if d.Dirs[i].Name == path[0] {
			if d.Dirs[i].Tree, err = t.without(d.Dirs[i].Tree, path[1:]); err != nil {
				return objects.Checksum{}, err
			}
		}
	}
	return t.change(d), nil
}

// change keeps a directory that the repository need not have.
func (t *layerTree) change(d objects.DirTree) objects.Checksum {
	sum := objects.ChecksumOf(d.Marshal())
	t.changed[sum] = d
	return sum
}

func hasName(d objects.DirTree, name string) bool {
	return slices.ContainsFunc(d.Files, func(f objects.TreeFile) bool { return f.Name == name }) ||
		slices.ContainsFunc(d.Dirs, func(d objects.TreeDir) bool { return d.Name == name })
}

// withEntry adds what was found elsewhere.
func withEntry(d objects.DirTree, name string, found ostreerepo.Found) objects.DirTree {
	if found.IsDir() {
		dirs := append(slices.Clone(d.Dirs), objects.TreeDir{Name: name, Tree: found.Dir.Tree, Meta: found.Dir.Meta})
		slices.SortFunc(dirs, func(a, b objects.TreeDir) int { return strings.Compare(a.Name, b.Name) })
		d.Dirs = dirs
		return d
	}
	files := append(slices.Clone(d.Files), objects.TreeFile{Name: name, Checksum: found.File})
	slices.SortFunc(files, func(a, b objects.TreeFile) int { return strings.Compare(a.Name, b.Name) })
	d.Files = files
	return d
}

func splitPath(path string) (dir, base string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

func join(dir, base string) string { return strings.TrimPrefix(dir+"/"+base, "/") }

// write writes the layer's archive. below tells whether the layers below have something at a path of the commit.
func (t *layerTree) write(ctx context.Context, to io.Writer, below func(path string) (bool, error), step func()) error {
	a := roottree.NewArchive(t, to, func(name string) bool { return name != "security.selinux" })
	o := owners{tree: t, below: below, known: make(map[string]implied)}
	err := roottree.Walk(ctx, t, t.root, func(e roottree.Entry) error {
		defer step()
		if e.IsDir() {
			listed, err := o.lists(e)
			if err != nil || !listed {
				return err
			}
			return a.Add(ctx, e)
		}
		// Programs change files there in place, and one must not change with another.
		if top, _, _ := strings.Cut(e.Path, "/"); top == "etc" || top == "var" {
			return a.Add(ctx, e)
		}
		return a.AddShared(ctx, e)
	})
	return errors.Join(err, a.Close())
}
