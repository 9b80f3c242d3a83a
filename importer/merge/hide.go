package merge

import "github.com/ostree-importd/ostree-importd/ostreerepo/objects"

// hide removes from lower what the markers of a layer's directory hide, there and below. path is
// where the layer has that directory, at where the merged tree has lower; they differ once a
// symbolic link was followed.
func (l *layer) hide(lower *dir, tree objects.Checksum, path, at string) error {
	if found, err := l.hasMarker(tree); err != nil || !found {
		return err
	}
	t, err := l.read(tree)
	if err != nil {
		return err
	}
	if err := l.load(lower); err != nil {
		return err
	}
	for _, marker := range markersOf(t) {
		lower.obey(marker)
	}
	for _, d := range t.Dirs {
		if isMarker(d.Name) {
			continue
		}
		if err := l.hideBelow(lower, d, join(path, d.Name), join(at, d.Name)); err != nil {
			return err
		}
	}
	return nil
}

// hideBelow goes on in the directory d of a layer with what lower has of that name. path and at are
// d's.
func (l *layer) hideBelow(lower *dir, d objects.TreeDir, path, at string) error {
	if c := lower.dirs[d.Name]; c != nil {
		return l.hide(c, d.Tree, path, at)
	}
	if !l.tree.Implied[path] {
		return nil
	}
	if found, err := l.hasMarker(d.Tree); err != nil || !found {
		return err
	}
	isLink, err := l.isLink(lower, d.Name)
	if err != nil || !isLink {
		return err
	}
	return l.hideLinked(linked{tree: d.Tree, path: path, at: at})
}

// obey removes from a loaded directory what one marker in it hides.
func (d *dir) obey(marker string) {
	if marker == opaqueMarker {
		for name := range d.files {
			d.remove(name)
		}
		for name := range d.dirs {
			d.remove(name)
		}
	} else if name, ok := hidden(marker); ok {
		d.remove(name)
	}
}

// markersOf lists the markers that a layer's directory holds. A directory with such a name is a
// marker as well, and nothing below it means anything.
func markersOf(t objects.DirTree) []string {
	var markers []string
	for _, f := range t.Files {
		if isMarker(f.Name) {
			markers = append(markers, f.Name)
		}
	}
	for _, d := range t.Dirs {
		if isMarker(d.Name) {
			markers = append(markers, d.Name)
		}
	}
	return markers
}
