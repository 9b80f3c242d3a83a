package export

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/layertree"
	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// layerTree is the tree of a derived layer's commit as the image has it.
type layerTree struct {
	*ostreerepo.Repo
	tree  *layertree.Tree
	moved map[string]string // top-level directories of the image, and the paths that they have in the commit
	trail trail             // to the path that was looked up last
}

// DirTree reads a directory.
func (t *layerTree) DirTree(c objects.Checksum) (objects.DirTree, error) { return t.tree.DirTree(c) }

// openLayer reads the tree of a derived layer's commit.
func openLayer(repo *ostreerepo.Repo, l stored.Layer) (*layerTree, error) {
	rules := layertar.ParseRules(l.Rules)
	tree, err := layertree.Open(repo, l.Object, rules)
	return &layerTree{Repo: repo, tree: tree, moved: rules.Moved(), trail: trail{trees: tree}}, err
}

// inCommit gives the path in the commit of a path of the image.
func (t *layerTree) inCommit(path string) string {
	top, rest, _ := strings.Cut(path, "/")
	place, ok := t.moved[top]
	if !ok {
		return path
	}
	return strings.TrimSuffix(place+"/"+rest, "/")
}

// removes reports whether a marker in the layer removes what the layers below have at a path of the
// image.
func (t *layerTree) removes(path string) (bool, error) {
	dir := t.tree.Root.Tree
	for depth := 0; path != ""; depth++ {
		d, err := t.trail.dir(depth, dir)
		if err != nil {
			return false, err
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		if hasName(d, opaqueMarker) || hasName(d, whiteoutPrefix+name) {
			return true, nil
		}
		i, there := findDir(d, name)
		if !there {
			return false, nil
		}
		dir = d.Dirs[i].Tree
	}
	return false, nil
}

func hasName(d objects.DirTree, name string) bool {
	_, isDir := findDir(d, name)
	_, isFile := slices.BinarySearchFunc(d.Files, name, func(f objects.TreeFile, name string) int { return strings.Compare(f.Name, name) })
	return isDir || isFile
}

// findDir finds a directory in its parent.
func findDir(d objects.DirTree, name string) (index int, there bool) {
	return slices.BinarySearchFunc(d.Dirs, name, func(d objects.TreeDir, name string) int { return strings.Compare(d.Name, name) })
}

// write writes the layer's archive. below tells whether the layers below have something at a path
// of the commit.
func (t *layerTree) write(ctx context.Context, to io.Writer, below func(path string) (bool, error), step func()) error {
	a := roottree.NewArchive(t, to, func(name string) bool { return name != "security.selinux" })
	o := owners{tree: t, below: below, known: make(map[string]implied)}
	more, err := t.more(ctx)
	if err != nil {
		return err
	}
	if err := t.writeMore(ctx, a, more.before); err != nil {
		return err
	}
	err = roottree.Walk(ctx, t, t.tree.Root, func(e roottree.Entry) error {
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
	if err == nil {
		err = t.writeMore(ctx, a, more.after)
	}
	return errors.Join(err, a.Close())
}

// moreEntries are what the layer's tree doesn't hold.
type moreEntries struct {
	before []layertar.Entry // come before the tree: hard links to what stands for something else then
	after  []layertar.Entry
}

func (t *layerTree) more(ctx context.Context) (moreEntries, error) {
	var m moreEntries
	err := t.tree.More(ctx, func(e layertar.Entry) error {
		dir, _ := path.Split(e.Path)
		parent, err := t.trail.lookup(t.tree.Root.Tree, strings.TrimSuffix(dir, "/"))
		if e.Type == tar.TypeLink && parent.IsDir() {
			m.before = append(m.before, e)
		} else {
			m.after = append(m.after, e)
		}
		return err
	})
	return m, err
}

// writeMore writes entries that the layer's tree doesn't hold.
func (t *layerTree) writeMore(ctx context.Context, a *roottree.Archive, entries []layertar.Entry) error {
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		switch {
		case e.Type == tar.TypeLink:
			err = a.AddLink(e.Path, e.Target)
		case e.Type == tar.TypeDir:
			err = a.AddDir(e.Path, e.Dir)
		case e.Type == tar.TypeSymlink:
			err = a.AddSymlink(e.Path, e.Link)
		case e.Type == tar.TypeReg && e.Object == "":
			err = a.AddMarker(e.Path)
		case e.Type == tar.TypeReg:
			var file objects.Checksum
			if file, err = t.tree.Object(e); err == nil {
				err = a.Add(ctx, roottree.Entry{Path: e.Path, File: file})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
