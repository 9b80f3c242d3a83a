package layertree

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const whiteoutPrefix = ".wh."

// Aside begins the name, in the tree of an image, of what a commit has in its root where the path
// rules never put anything: etc, for example, since the image's etc is at usr/etc. No file has such
// a name.
const Aside = "\x00"

// node is a directory while the tree is changed. Its maps are nil until somebody looks into it.
type node struct {
	tree, meta objects.Checksum
	files      map[string]objects.Checksum
	dirs       map[string]*node
}

// found is what a directory has under a name.
type found struct {
	dir  *node
	file objects.Checksum
}

func (f found) exists() bool { return f.dir != nil || !f.file.IsZero() }

// unplacing undoes the path rules.
type unplacing struct {
	*Tree
	root  *node
	moved map[string]string // top levels of the image by name, with their places in the commit
	own   *pathSet
}

// implied gives the paths in the image of directories of the commit.
func (u *unplacing) implied(paths []string) map[string]bool {
	implied := make(map[string]bool, len(paths))
	for _, path := range paths {
		implied[u.inImage(path)] = true
	}
	return implied
}

func (u *unplacing) inImage(path string) string {
	for top, place := range u.moved {
		if rest, ok := strings.CutPrefix(path+"/", place+"/"); ok && !u.own.covers(path) {
			return strings.TrimSuffix(top+"/"+rest, "/")
		}
	}
	return path
}

// all moves everything to where the image has it. own are the paths of what it has there already.
func (u *unplacing) all(own []string) error {
	if err := u.load(u.root); err != nil {
		return err
	}
	for name, file := range u.root.files {
		if u.more && strings.HasPrefix(name, layertar.MoreName) {
			u.hidden[name] = file
			delete(u.root.files, name)
		}
	}
	for _, top := range sortedTops(u.moved) {
		if err := u.moveTop(top, own); err != nil {
			return err
		}
	}
	return nil
}

// moveTop moves what is at the place of a top level to that top level.
func (u *unplacing) moveTop(top string, own []string) error {
	place := u.moved[top]
	u.setAside(top)
	dir, base := splitPath(place)
	parent, err := u.dir(dir)
	if err != nil || parent == nil {
		return err
	}
	for _, prefix := range []string{"", whiteoutPrefix} {
		at := found{parent.dirs[prefix+base], parent.files[prefix+base]}
		if at.exists() && !u.own.covers(join(dir, prefix+base)) {
			parent.remove(prefix + base)
			u.root.put(prefix+top, at)
		}
	}
	for _, path := range own {
		rest, ok := strings.CutPrefix(path, place+"/")
		if !ok {
			continue
		}
		if err := u.moveOwn(join(top, rest), path); err != nil {
			return err
		}
	}
	return nil
}

// setAside takes what the commit has at the name of a top level that the rules move, which is none
// of the image's, out of the way.
func (u *unplacing) setAside(top string) {
	for _, prefix := range []string{"", whiteoutPrefix} {
		if at := u.root.get(prefix + top); at.exists() {
			u.root.remove(prefix + top)
			u.root.put(Aside+prefix+top, at)
		}
	}
}

// moveOwn moves what is at one path to another. Directories that are missing there are implied.
func (u *unplacing) moveOwn(from, to string) error {
	dir, base := splitPath(from)
	parent, err := u.dir(dir)
	if err != nil || parent == nil {
		return err
	}
	moved := parent.get(base)
	if !moved.exists() {
		return nil
	}
	parent.remove(base)
	into, path := u.root, ""
	dir, base = splitPath(to)
	for name := range strings.SplitSeq(dir, "/") {
		if err := u.load(into); err != nil {
			return err
		}
		path = join(path, name)
		next := into.dirs[name]
		if next == nil {
			// The metadata don't matter: an entry of the archive describes the directory, or
			// nothing does.
			next = &node{meta: parent.meta, files: map[string]objects.Checksum{}, dirs: map[string]*node{}}
			into.put(name, found{dir: next})
			u.Implied[path] = true
		}
		into = next
	}
	if err := u.load(into); err != nil {
		return err
	}
	into.put(base, moved)
	return nil
}

// dir gives the directory at a path and reads its entries; nil for anything else.
func (u *unplacing) dir(path string) (*node, error) {
	n := u.root
	for path != "" {
		if err := u.load(n); err != nil {
			return nil, err
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		if n = n.dirs[name]; n == nil {
			return nil, nil
		}
	}
	return n, u.load(n)
}

// load reads the entries of a directory.
func (u *unplacing) load(n *node) error {
	if n.files != nil {
		return nil
	}
	t, err := u.source.DirTree(n.tree)
	if err != nil {
		return err
	}
	n.files = make(map[string]objects.Checksum, len(t.Files))
	for _, f := range t.Files {
		n.files[f.Name] = f.Checksum
	}
	n.dirs = make(map[string]*node, len(t.Dirs))
	for _, d := range t.Dirs {
		n.dirs[d.Name] = &node{tree: d.Tree, meta: d.Meta}
	}
	return nil
}

// freeze gives the checksum of a directory as it is now, and keeps it and those below that differ
// from the commit's.
func (u *unplacing) freeze(n *node) objects.Checksum {
	if n.files == nil {
		return n.tree
	}
	var t objects.DirTree
	for name, file := range n.files {
		t.Files = append(t.Files, objects.TreeFile{Name: name, Checksum: file})
	}
	for name, d := range n.dirs {
		t.Dirs = append(t.Dirs, objects.TreeDir{Name: name, Tree: u.freeze(d), Meta: d.meta})
	}
	slices.SortFunc(t.Files, func(a, b objects.TreeFile) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Dirs, func(a, b objects.TreeDir) int { return cmp.Compare(a.Name, b.Name) })
	sum := objects.ChecksumOf(t.Marshal())
	if sum != n.tree {
		u.changed[sum] = t
	}
	return sum
}

func (n *node) get(name string) found { return found{n.dirs[name], n.files[name]} }

func (n *node) put(name string, f found) {
	n.remove(name)
	if f.dir != nil {
		n.dirs[name] = f.dir
	} else {
		n.files[name] = f.file
	}
}

func (n *node) remove(name string) {
	delete(n.files, name)
	delete(n.dirs, name)
}

func splitPath(path string) (dir, base string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

func join(dir, base string) string { return strings.TrimPrefix(dir+"/"+base, "/") }
