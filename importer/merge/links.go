package merge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// maxLinks is the number of symbolic links that one path may lead through, the kernel's own limit.
const maxLinks = 40

// maxMade is the number of missing directories that the targets of links may make in one merge: one
// link can name thousands.
const maxMade = 1 << 16

var errTooManyMade = fmt.Errorf("symbolic links lead to more than %d missing directories", maxMade)

// maxLinkSteps is the number of components that the paths of one merge may have together when their
// symbolic links are followed: a few links can stand for millions of components.
const maxLinkSteps = 16 << 20

var errTooManySteps = fmt.Errorf("symbolic links make paths longer than %d components together", maxLinkSteps)

var errLoop = fmt.Errorf("it leads through more than %d symbolic links", maxLinks)

// linked is an implied directory of a layer that the tree has as a symbolic link.
type linked struct {
	tree, meta objects.Checksum
	path       string // in the layer
	at         string // of the link in the merged tree
}

// hideLinked obeys the markers below a linked directory, as far as the link leads to a directory.
func (l *layer) hideLinked(k linked) error {
	at, ok, err := l.destination(k)
	if err != nil || !ok {
		return err
	}
	found, err := l.lookup(l.root, at)
	if err != nil || found.dir == nil {
		return err
	}
	return l.hide(found.dir, k.tree, k.path, at)
}

// addLinked adds what the layer has below linked directories, last, so that the links lead where
// they do in the finished layer.
func (l *layer) addLinked() error {
	for len(l.links) > 0 {
		k := l.links[0]
		l.links = l.links[1:]
		at, ok, err := l.destination(k)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		target, err := l.ensure(at, k.meta)
		if errors.Is(err, errTooManyMade) {
			return entryError(k.path, err)
		}
		if err != nil {
			return err
		}
		if err := l.add(target, k.tree, k.path, at); err != nil {
			return err
		}
	}
	return nil
}

// destination gives the path that a linked directory leads to; ok is false when a commit holds
// nothing there.
func (l *layer) destination(k linked) (at string, ok bool, err error) {
	at, err = l.follow(k.at)
	if err == nil && at == "" {
		err = l.checkRoot(k)
	}
	if err != nil {
		return "", false, entryError(k.path, err)
	}
	return at, at == "" || l.paths.holdsContent(at), nil
}

// checkRoot refuses a directory that leads to the root when it has a top level which isn't at the
// root of a commit.
func (l *layer) checkRoot(k linked) error {
	t, err := l.read(k.tree)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(t.Files)+len(t.Dirs))
	for _, f := range t.Files {
		names = append(names, f.Name)
	}
	for _, d := range t.Dirs {
		names = append(names, d.Name)
	}
	for _, name := range names {
		if hides, ok := hidden(name); ok {
			name = hides
		}
		if l.paths.inCommit(name) != name || !l.paths.holdsContent(name) {
			return fmt.Errorf("it leads through a symbolic link to the root and there to %q, which a commit has elsewhere", name)
		}
	}
	return nil
}

// follow resolves a path in the merged tree to one without symbolic links, inside the root as a
// runtime sees it: ".." stops at the root, and what doesn't exist is taken as it is written.
func (m *merger) follow(at string) (path string, err error) {
	w := walk{merger: m, at: []entry{{dir: m.root}}}
	if err := w.steps(at); err != nil {
		return "", err
	}
	return strings.Join(w.path, "/"), nil
}

// walk follows one path through the merged tree.
type walk struct {
	*merger
	path  []string // where it is, without links
	at    []entry  // the root and what is at each component of path
	links int      // followed so far
}

// steps goes on to each component of a path.
func (w *walk) steps(path string) error {
	for name := range strings.SplitSeq(path, "/") {
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

// step goes on to one component.
func (w *walk) step(name string) error {
	if w.followed++; w.followed > maxLinkSteps {
		return errTooManySteps
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	switch name {
	case "", ".":
		return nil
	case "..":
		w.path, w.at = w.path[:max(0, len(w.path)-1)], w.at[:max(1, len(w.at)-1)]
		return nil
	}
	next, err := w.child(name)
	if err != nil {
		return err
	}
	target, isLink, err := w.readLink(next)
	if err != nil {
		return err
	}
	if !isLink {
		w.path, w.at = append(w.path, name), append(w.at, next)
		return nil
	}
	if w.links++; w.links > maxLinks {
		return errLoop
	}
	if strings.HasPrefix(target, "/") {
		w.path, w.at = w.path[:0], w.at[:1]
	}
	return w.steps(target)
}

// child gives what the present directory has under a name.
func (w *walk) child(name string) (entry, error) {
	here := w.at[len(w.at)-1].dir
	if here == nil {
		return entry{}, nil
	}
	if err := w.load(here); err != nil {
		return entry{}, err
	}
	return here.get(name), nil
}

// entry is what a path leads to: a directory, a non-directory, or neither.
type entry struct {
	dir  *dir
	file objects.Checksum
}

func (e entry) exists() bool { return e.dir != nil || !e.file.IsZero() }

// lookup finds a path below d, following no links. Directories that it returns are loaded.
func (m *merger) lookup(d *dir, path string) (entry, error) {
	for path != "" {
		if err := m.load(d); err != nil {
			return entry{}, err
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		next := d.dirs[name]
		if next == nil {
			if path != "" {
				return entry{}, nil
			}
			return entry{file: d.files[name]}, nil
		}
		d = next
	}
	return entry{dir: d}, m.load(d)
}

// ensure gives the directory at a place in the merged tree, loaded. Missing ones are made with
// meta, but each with its own label, and a non-directory in the way gives place to one.
func (m *merger) ensure(at string, meta objects.Checksum) (*dir, error) {
	d, path := m.root, ""
	for at != "" {
		if err := m.load(d); err != nil {
			return nil, err
		}
		var name string
		name, at, _ = strings.Cut(at, "/")
		path = join(path, name)
		next := d.dirs[name]
		if next == nil {
			if m.made++; m.made > maxMade {
				return nil, errTooManyMade
			}
			labeled, err := m.label(meta, path)
			if err != nil {
				return nil, err
			}
			next = newDir(labeled)
			d.putDir(name, next)
		}
		d = next
	}
	return d, m.load(d)
}

// isLink tells whether the entry name of a loaded directory is a symbolic link.
func (m *merger) isLink(d *dir, name string) (bool, error) {
	_, isLink, err := m.readLink(entry{file: d.files[name]})
	return isLink, err
}

// readLink gives the target of a symbolic link; anything else isn't one.
func (m *merger) readLink(e entry) (target string, isLink bool, err error) {
	if e.file.IsZero() {
		return "", false, nil
	}
	header, content, err := m.st.OpenFile(e.file)
	if err != nil {
		return "", false, err
	}
	return header.Target, header.IsSymlink(), content.Close()
}
