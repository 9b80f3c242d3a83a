package merge

import "github.com/ostree-importd/ostree-importd/ostreerepo/objects"

// hide removes from lower what the markers of a layer's directory hide, there and below. path is where the layer commit has
// that directory, at where the merged tree has lower; they differ once a symbolic link was followed.
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
	kept := l.paths.keptBelow(at)
	for _, marker := range markersOf(t) {
		if err := l.obey(lower, at, marker, kept); err != nil {
			return err
		}
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

// hideBelow goes on in the directory d of a layer with what lower has of that name. path and at are d's.
func (l *layer) hideBelow(lower *dir, d objects.TreeDir, path, at string) error {
	if c := lower.dirs[d.Name]; c != nil {
		return l.hide(c, d.Tree, path, at)
	}
	if !l.implied[path] {
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

// obey removes from d, which is at a place in the merged tree, what one marker in it hides.
func (m *merger) obey(d *dir, at, marker string, kept kept) error {
	if marker == opaqueMarker {
		if d == m.root {
			kept = nil // it hides all of the image, /etc too
		}
		return m.clear(d, at, kept)
	}
	if name, ok := hidden(marker); ok {
		return m.drop(d, at, name, kept.below(name))
	}
	return nil
}

// clear removes everything from d, which is at a place in the merged tree, except what is kept.
func (m *merger) clear(d *dir, at string, kept kept) error {
	for name := range d.files {
		if !kept.has(name) {
			d.remove(name)
		}
	}
	for name := range d.dirs {
		if kept.has(name) {
			continue
		}
		if err := m.drop(d, at, name, kept.below(name)); err != nil {
			return err
		}
	}
	return nil
}

// drop removes name from d, which is at a place in the merged tree. When it is a directory that holds something of kept, that much of it stays, in directories that
// are otherwise as if nobody had described them.
func (m *merger) drop(d *dir, at, name string, kept kept) error {
	c := d.dirs[name]
	if c == nil {
		d.remove(name)
		return nil
	}
	holds, err := m.holds(c, kept)
	if err != nil {
		return err
	}
	if !holds {
		d.remove(name)
		return nil
	}
	at = join(at, name)
	meta, err := m.label(m.plain, at)
	if err != nil {
		return err
	}
	c.describe(meta)
	c.bare = true
	return m.clear(c, at, kept)
}

// holds tells whether something of kept exists below d.
func (m *merger) holds(d *dir, kept kept) (bool, error) {
	for _, path := range kept {
		at, err := m.lookup(d, path)
		if err != nil || at.exists() {
			return err == nil, err
		}
	}
	return false, nil
}

// markersOf lists the markers that a layer's directory holds. A directory with such a name is a marker as well, and nothing
// below it means anything.
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
