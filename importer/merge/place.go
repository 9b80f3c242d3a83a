package merge

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertree"
)

var errKept = errors.New("it is no directory, but an OSTree commit keeps the image's /etc or /var in it")

// unplace turns the tree of a base commit into one of the image: what the commit has where the
// rules put a top level is that top level of the image.
func (m *merger) unplace() error {
	for _, top := range slices.Sorted(maps.Keys(m.paths.moved)) {
		dir, base := split(m.paths.moved[top])
		parent, err := m.lookup(m.root, dir)
		if err != nil {
			return err
		}
		if err := m.load(m.root); err != nil {
			return err
		}
		if aside := m.root.get(top); aside.exists() {
			m.root.remove(top)
			m.root.put(layertree.Aside+top, aside)
		}
		if parent.dir == nil {
			continue
		}
		if moved := parent.dir.get(base); moved.exists() {
			parent.dir.remove(base)
			m.root.put(top, moved)
		}
	}
	return nil
}

// place turns the tree of the image into that of a commit: the rules' top levels come to lie over
// what the image has at their places itself.
func (m *merger) place() error {
	for _, top := range slices.Sorted(maps.Keys(m.paths.moved)) {
		if err := m.load(m.root); err != nil {
			return err
		}
		moved := m.root.get(top)
		m.root.remove(top)
		if aside := m.root.get(layertree.Aside + top); aside.exists() {
			m.root.remove(layertree.Aside + top)
			m.root.put(top, aside)
		}
		if !moved.exists() {
			continue
		}
		path := m.paths.moved[top]
		stays, err := m.leadsTo(moved, path)
		if err != nil {
			return err
		}
		if stays {
			continue
		}
		dir, base := split(path)
		parent, err := m.ensure(dir, m.plain)
		if err == nil {
			err = m.overlayEntry(parent, base, moved)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leadsTo tells whether an entry at the top of the image is a symbolic link to its place in the
// commit. Then all that it stands for is there already.
func (m *merger) leadsTo(e entry, place string) (bool, error) {
	link, isLink, err := m.readLink(e)
	if err != nil || !isLink {
		return false, err
	}
	target, err := m.follow(link)
	if errors.Is(err, errLoop) {
		return false, nil
	}
	return target == place, err
}

// overlayEntry lays an entry over what a directory has under the name.
func (m *merger) overlayEntry(d *dir, name string, e entry) error {
	lower := d.dirs[name]
	if lower == nil || e.dir == nil {
		d.put(name, e)
		return nil
	}
	if err := errors.Join(m.load(lower), m.load(e.dir)); err != nil {
		return err
	}
	lower.describe(e.dir.meta)
	for child, file := range e.dir.files {
		if err := m.overlayEntry(lower, child, entry{file: file}); err != nil {
			return err
		}
	}
	for child, below := range e.dir.dirs {
		if err := m.overlayEntry(lower, child, entry{dir: below}); err != nil {
			return err
		}
	}
	return nil
}

// checkPlaces refuses a layer that makes something else of a directory that a commit needs for a
// top level.
func (m *merger) checkPlaces() error {
	for top, place := range m.paths.moved {
		if !m.root.get(top).exists() {
			continue
		}
		dir, _ := split(place)
		path, d := "", m.root
		for name := range strings.SplitSeq(dir, "/") {
			if err := m.load(d); err != nil {
				return err
			}
			path = join(path, name)
			if next := d.get(name); next.dir == nil {
				if next.exists() {
					return entryError(path, errKept)
				}
				break
			}
			d = d.dirs[name]
		}
	}
	return nil
}
