package merge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/layertree"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// layer is a layer while it is overlaid. Its paths are those of the image.
type layer struct {
	*merger
	tree    *layertree.Tree
	content map[string]bool  // paths of implied directories whose answer hasContent knows
	links   []linked         // subtrees that go where symbolic links lead, after everything else
	more    []layertar.Entry // what the tree doesn't hold
	lower   map[string]entry // what the lower layers have at the targets of hard links
}

// add puts the entries of a layer's directory into target. path is where the layer has that
// directory, at where the merged tree has target; they differ once a symbolic link was followed.
func (l *layer) add(target *dir, tree objects.Checksum, path, at string) error {
	marked, err := l.hasMarker(tree)
	if err != nil {
		return err
	}
	if !marked && target.files == nil && target.tree == tree {
		return nil
	}
	if err := l.load(target); err != nil {
		return err
	}
	misplaced := l.misplaced(path, at)
	if !marked && target.empty() && !l.tree.Changed(tree) {
		if misplaced {
			if tree, err = l.relabel(tree, at); err != nil {
				return err
			}
		}
		target.adopt(tree)
		return nil
	}
	return l.addEntries(target, tree, path, at, misplaced)
}

// addEntries puts what a directory of the layer holds into target, one by one.
func (l *layer) addEntries(target *dir, tree objects.Checksum, path, at string, misplaced bool) error {
	t, err := l.read(tree)
	if err == nil {
		err = l.takeTree(t)
	}
	if err != nil {
		return err
	}
	if misplaced {
		if t.Files, err = l.relabelFiles(t.Files, at); err != nil {
			return err
		}
	}
	for _, f := range t.Files {
		if !isMarker(f.Name) {
			target.putFile(f.Name, f.Checksum)
		}
	}
	for _, d := range t.Dirs {
		if isMarker(d.Name) {
			continue
		}
		if err := l.addDir(target, d, join(path, d.Name), join(at, d.Name)); err != nil {
			return err
		}
	}
	return nil
}

// addDir puts a directory with all below it into target. path and at are its own.
func (l *layer) addDir(target *dir, d objects.TreeDir, path, at string) error {
	implied := l.tree.Implied[path]
	if implied {
		if some, err := l.hasContent(d.Tree, path); err != nil || !some {
			return err
		}
		isLink, err := l.isLink(target, d.Name)
		if err != nil {
			return err
		}
		if isLink {
			l.links = append(l.links, linked{tree: d.Tree, meta: d.Meta, path: path, at: at})
			return nil
		}
	}
	meta := d.Meta
	if l.misplaced(path, at) {
		var err error
		if meta, err = l.label(meta, at); err != nil {
			return err
		}
	}
	c := target.dirs[d.Name]
	if c == nil {
		c = newDir(meta)
		target.putDir(d.Name, c)
	} else if !implied {
		c.describe(meta)
	}
	return l.add(c, d.Tree, path, at)
}

// hasContent tells whether an implied directory holds anything but markers. One that is quite empty
// does: the archive had something in it that the path rules left out.
func (l *layer) hasContent(tree objects.Checksum, path string) (bool, error) {
	if known, ok := l.content[path]; ok {
		return known, nil
	}
	if marked, err := l.hasMarker(tree); err != nil || !marked {
		if err == nil && l.emptied(path) {
			return l.hasMovedContent(tree, path)
		}
		return err == nil, err
	}
	t, err := l.read(tree)
	if err != nil {
		return false, err
	}
	some := slices.ContainsFunc(t.Files, func(f objects.TreeFile) bool { return !isMarker(f.Name) })
	for _, d := range t.Dirs {
		if some || isMarker(d.Name) {
			continue
		}
		below := join(path, d.Name)
		if some = !l.tree.Implied[below]; some {
			break
		}
		if some, err = l.hasContent(d.Tree, below); err != nil {
			return false, err
		}
	}
	l.content[path] = some
	return some, nil
}

// emptied tells whether a directory of the image may be in a layer only because a commit needs it
// for a top level.
func (l *layer) emptied(path string) bool {
	for _, place := range l.paths.moved {
		if strings.HasPrefix(place, path+"/") {
			return true
		}
	}
	return false
}

// hasMovedContent is hasContent for such a directory.
func (l *layer) hasMovedContent(tree objects.Checksum, path string) (bool, error) {
	t, err := l.read(tree)
	if err != nil || len(t.Files)+len(t.Dirs) > 1 {
		return true, err
	}
	if len(t.Dirs) > 0 {
		if below := join(path, t.Dirs[0].Name); l.tree.Implied[below] && l.emptied(below) {
			return l.hasMovedContent(t.Dirs[0].Tree, below)
		}
		return true, nil
	}
	if len(t.Files) > 0 {
		return true, nil
	}
	return l.hasContentMovedTo(path)
}

// hasContentMovedTo reports whether the layer has content in a top level whose place in a commit is
// below a path.
func (l *layer) hasContentMovedTo(path string) (bool, error) {
	root, err := l.read(l.tree.Root.Tree)
	if err != nil {
		return false, err
	}
	for top, place := range l.paths.moved {
		if !strings.HasPrefix(place, path+"/") {
			continue
		}
		if some, err := l.hasTop(root, top); err != nil || some {
			return some, err
		}
	}
	return false, nil
}

// hasTop reports whether a layer's root has content in a top level.
func (l *layer) hasTop(root objects.DirTree, top string) (bool, error) {
	if slices.ContainsFunc(root.Files, func(f objects.TreeFile) bool { return f.Name == top }) {
		return true, nil
	}
	i := slices.IndexFunc(root.Dirs, func(d objects.TreeDir) bool { return d.Name == top })
	if i < 0 {
		return false, nil
	}
	if !l.tree.Implied[top] {
		return true, nil
	}
	return l.hasContent(root.Dirs[i].Tree, top)
}

// entryError says which entry of a layer can't be placed.
func entryError(path string, err error) error {
	const most = 200
	quoted := strconv.Quote(path)
	if len(quoted) > most {
		quoted = quoted[:most] + `…"`
	}
	return &layertar.EntryError{Entry: quoted, Err: err}
}
