package merge

import (
	"archive/tar"
	"errors"
	"fmt"
	"strconv"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// readMore reads the entries that the layer's tree doesn't hold, and looks up the targets of hard
// links in the lower layers, before the layer hides anything of them: an archive may list a link
// before the whiteout of its target.
func (l *layer) readMore() error {
	l.lower = map[string]entry{}
	return l.tree.More(l.ctx, func(e layertar.Entry) error {
		if err := l.takeNames([]string{e.Path, e.Target, e.Link.Target}); err != nil {
			return err
		}
		l.more = append(l.more, e)
		if e.Type == tar.TypeDir {
			delete(l.tree.Implied, e.Path)
		}
		if e.Type != tar.TypeLink {
			return nil
		}
		if _, known := l.lower[e.Target]; known {
			return nil
		}
		_, found, err := l.find(e.Target)
		if err != nil {
			return entryError(e.Path, err)
		}
		l.lower[e.Target] = found
		return nil
	})
}

// find gives what a path leads to through the links of its directories, and the path without them.
func (m *merger) find(path string) (real string, found entry, err error) {
	dir, name := split(path)
	if dir, err = m.follow(dir); err != nil {
		return "", entry{}, err
	}
	real = join(dir, name)
	found, err = m.lookup(m.root, real)
	return real, found, err
}

// hideMore obeys the markers among the entries that the layer's tree doesn't hold.
func (l *layer) hideMore() error {
	for _, e := range l.more {
		dir, name := split(e.Path)
		if !isMarker(name) {
			continue
		}
		real, err := l.follow(dir)
		if err != nil {
			return entryError(e.Path, err)
		}
		found, err := l.lookup(l.root, real)
		if err != nil {
			return err
		}
		if found.dir != nil {
			found.dir.obey(name)
		}
	}
	return nil
}

// addMore adds the entries that the layer's tree doesn't hold.
func (l *layer) addMore() error {
	links := newHardLinks(l)
	for _, e := range l.more {
		dir, name := split(e.Path)
		if isMarker(name) {
			continue
		}
		real, err := l.follow(dir)
		if err == nil && l.paths.holdsContent(join(real, name)) {
			err = l.addOne(e, real, name, links)
		}
		if err != nil {
			return entryError(e.Path, err)
		}
	}
	return nil
}

// addOne adds an entry to the directory at a path without links.
func (l *layer) addOne(e layertar.Entry, dir, name string, links *hardLinks) error {
	var file objects.Checksum
	var err error
	switch e.Type {
	case tar.TypeDir:
		return l.addListed(e, dir, name)
	case tar.TypeLink:
		if file, err = links.content(e); err == nil && file.IsZero() {
			return nil
		}
		if errors.Is(err, errLeftOut) {
			l.dropped[join(dir, name)] = true
			return nil
		}
	case tar.TypeSymlink:
		file, err = l.st.WriteSymlink(e.Link)
	case tar.TypeReg:
		file, err = l.tree.Object(e)
	default: // a special file that was left out
		l.dropped[join(dir, name)] = true
		return nil
	}
	if err != nil {
		return err
	}
	files := []objects.TreeFile{{Name: name, Checksum: file}}
	if l.policy != nil {
		if files, err = l.relabelFiles(files, dir); err != nil {
			return err
		}
	}
	parent, err := l.ensure(dir, l.plain)
	if err != nil {
		return err
	}
	parent.putFile(name, files[0].Checksum)
	return nil
}

// addListed adds a directory that the layer lists.
func (l *layer) addListed(e layertar.Entry, dir, name string) error {
	meta, err := l.st.WriteDirMeta(e.Dir)
	if err == nil {
		meta, err = l.label(meta, join(dir, name))
	}
	if err != nil {
		return err
	}
	parent, err := l.ensure(dir, l.plain)
	if err != nil {
		return err
	}
	if c := parent.dirs[name]; c != nil {
		c.describe(meta)
	} else {
		parent.putDir(name, newDir(meta))
	}
	return nil
}

var errLeftOut = errors.New("it is a hard link to a special file that was left out")

// hardLinks finds the contents of a layer's hard links to what is not before them in its archive.
type hardLinks struct {
	*layer
	links map[string]layertar.Entry // by their paths
	known map[string]objects.Checksum
}

func newHardLinks(l *layer) *hardLinks {
	h := &hardLinks{layer: l, links: map[string]layertar.Entry{}, known: map[string]objects.Checksum{}}
	for _, e := range l.more {
		if e.Type == tar.TypeLink {
			h.links[e.Path] = e
		}
	}
	return h
}

// content gives the file that a hard link is, following other links of the layer. It is zero if the
// layer's tree has the link already.
func (h *hardLinks) content(e layertar.Entry) (objects.Checksum, error) {
	var chain []string
	visited := map[string]bool{}
	for {
		file, err := h.target(e)
		if err != nil || !file.IsZero() {
			for _, path := range chain {
				h.known[path] = file
			}
			return file, err
		}
		own, err := ostreerepo.Lookup(h.tree, h.tree.Root.Tree, e.Path)
		if err != nil {
			return file, err
		}
		if own.Exists() {
			return own.File, nil
		}
		chain = append(chain, e.Path)
		visited[e.Path] = true
		next, ok := h.links[e.Target]
		if !ok || visited[next.Path] {
			return file, fmt.Errorf("a hard link to %s, which is in no layer", strconv.Quote(e.Target))
		}
		e = next
	}
}

// target gives the file that a link's target is: in the lower layers, or else in this one. It is
// zero if the target is another link.
func (h *hardLinks) target(e layertar.Entry) (objects.Checksum, error) {
	if file, ok := h.known[e.Path]; ok {
		return file, nil
	}
	if lower := h.lower[e.Target]; !lower.file.IsZero() {
		return lower.file, nil
	}
	real, found, err := h.find(e.Target)
	switch {
	case err != nil:
		return objects.Checksum{}, err
	case h.dropped[real] && !found.exists():
		return objects.Checksum{}, errLeftOut
	case found.dir != nil:
		return objects.Checksum{}, fmt.Errorf("a hard link to the directory %s", strconv.Quote(e.Target))
	}
	return found.file, nil
}
