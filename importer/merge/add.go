package merge

import (
	"slices"
	"strconv"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// layer is a layer while it is overlaid.
type layer struct {
	*merger
	implied map[string]bool // paths in the layer commit of the directories that its archive doesn't list
	content map[string]bool // paths of implied directories whose answer hasContent knows
	links   []linked        // subtrees that go where symbolic links lead, after everything else
}

// add puts the entries of a layer's directory into target. path is where the layer commit has that directory, at where the
// merged tree has target; they differ once a symbolic link was followed.
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
	if !marked && target.empty() {
		if misplaced {
			if tree, err = l.relabel(tree, at); err != nil {
				return err
			}
		}
		target.adopt(tree)
		return nil
	}
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
		if isMarker(f.Name) {
			continue
		}
		if err := l.addFile(target, f, join(path, f.Name), join(at, f.Name)); err != nil {
			return err
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

// addFile puts a non-directory into target. path and at are its own.
func (l *layer) addFile(target *dir, f objects.TreeFile, path, at string) error {
	if c := target.dirs[f.Name]; c != nil {
		holds, err := l.holds(c, l.paths.keptBelow(at))
		if err != nil {
			return err
		}
		if holds {
			return entryError(path, errKept)
		}
	}
	target.putFile(f.Name, f.Checksum)
	return nil
}

// addDir puts a directory with all below it into target. path and at are its own.
func (l *layer) addDir(target *dir, d objects.TreeDir, path, at string) error {
	implied := l.implied[path]
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
	} else if !implied || c.bare {
		c.describe(meta)
	}
	return l.add(c, d.Tree, path, at)
}

// hasContent tells whether an implied directory holds anything but markers. One that is quite empty does: the archive had
// something in it that the path rules left out.
func (l *layer) hasContent(tree objects.Checksum, path string) (bool, error) {
	if known, ok := l.content[path]; ok {
		return known, nil
	}
	if marked, err := l.hasMarker(tree); err != nil || !marked {
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
		if some = !l.implied[below]; some {
			break
		}
		if some, err = l.hasContent(d.Tree, below); err != nil {
			return false, err
		}
	}
	l.content[path] = some
	return some, nil
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
