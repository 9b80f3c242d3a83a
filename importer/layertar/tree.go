package layertar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	impliedMode = 0o755 // of directories that the archive doesn't list
	impliedSize = 512   // bytes that one of them takes without its path
	maxLinks    = 40    // symbolic links followed in one path, as in Linux

	componentSize = 16 // bytes of a path's component in a list, without its text
)

// node is an entry of a layer: a directory, a content (file, symbolic link or marker), or a hard link whose target hasn't come yet.
type node struct {
	owner    owner
	children map[string]*node // of a directory; not nil
	mode     uint32           // of a directory: the permissions
	xattrs   objects.Xattrs   // of a directory
	listed   bool             // of a directory: the archive has an entry for it
	content  *content
	link     *pendingLink
}

func (n *node) isDir() bool { return n.children != nil }

func newDir(o owner) *node {
	return &node{owner: o, mode: impliedMode, children: make(map[string]*node)}
}

// pendingLink is a hard link to a path that has no entry yet.
type pendingLink struct {
	entry, targetName string
	path, target      []string
}

// tree is a layer as the image has it, before path rules. Paths are lists of components.
type tree struct {
	root      *node
	rootOwned bool // the root has its owner
	pending   []*node
	kept      int // bytes, roughly, that names, links and attributes take
}

func newTree() *tree { return &tree{root: newDir(owner{})} }

// at is the node at a path that leads through directories only, or nil.
func (t *tree) at(path []string) *node {
	n := t.root
	for _, name := range path {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// resolve follows this layer's symbolic links in all components but the last, staying below the root. What doesn't exist stays as it
// is written.
func (t *tree) resolve(path []string) ([]string, error) {
	if !t.crossesLink(path) {
		return path, nil
	}
	var names []string
	nodes := []*node{t.root}
	links := 0
	for rest := path[:len(path)-1]; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			names, nodes = names[:max(0, len(names)-1)], nodes[:max(1, len(nodes)-1)]
			continue
		}
		var next *node
		if dir := nodes[len(nodes)-1]; dir != nil {
			next = dir.children[name]
		}
		if next == nil || next.content == nil || next.content.target == "" {
			names, nodes = append(names, name), append(nodes, next)
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("the path leads through more than %d symbolic links", maxLinks)
		}
		target := next.content.target
		if strings.HasPrefix(target, "/") {
			names, nodes = names[:0], nodes[:1]
		}
		rest = slices.Concat(strings.Split(target, "/"), rest)
	}
	return checkResolved(append(names, path[len(path)-1]))
}

// crossesLink reports whether a component but the last is a symbolic link.
func (t *tree) crossesLink(path []string) bool {
	n := t.root
	for _, name := range path[:max(0, len(path)-1)] {
		if n = n.children[name]; n == nil {
			return false
		}
		if n.content != nil && n.content.target != "" {
			return true
		}
	}
	return false
}

// checkResolved holds what targets of symbolic links bring to the same rules as paths.
func checkResolved(path []string) ([]string, error) {
	length := 0
	for _, name := range path {
		if err := objects.ValidName(name); err != nil {
			return nil, fmt.Errorf("through a symbolic link: %w", err)
		}
		length += len(name) + 1
	}
	if length > maxPath {
		return nil, fmt.Errorf("the path with its symbolic links resolved is longer than %d bytes", maxPath)
	}
	return path, nil
}

// hides reports whether path leads through something that is no directory.
func (t *tree) hides(path []string) bool {
	n := t.root
	for _, name := range path[:len(path)-1] {
		if n = n.children[name]; n == nil {
			return false
		}
		if !n.isDir() {
			return true
		}
	}
	return false
}

// own gives the root the owner of the first entry that is kept, as every directory that isn't listed has the owner of the entry that
// needs it.
func (t *tree) own(o owner) {
	if !t.rootOwned {
		t.root.owner, t.rootOwned = o, true
	}
}

// parent gives the directory that holds path's last component. Directories that are missing are implied, and take the place of
// what is in the way.
func (t *tree) parent(path []string, o owner) *node {
	dir, length := t.root, 0
	for _, name := range path[:len(path)-1] {
		length += len(name) + 1
		next := dir.children[name]
		if next == nil || !next.isDir() {
			next = newDir(o)
			dir.children[name] = next
			t.kept += impliedSize + 2*length // its path will stand in the commit's metadata
		}
		dir = next
	}
	return dir
}

// put sets what is at a path, whatever was there.
func (t *tree) put(path []string, n *node) {
	t.parent(path, n.owner).children[path[len(path)-1]] = n
}

// putDir lists a directory. One that is there already keeps what it holds.
func (t *tree) putDir(path []string, o owner, mode uint32, xattrs objects.Xattrs) {
	dir := t.root
	if len(path) > 0 {
		parent, name := t.parent(path, o), path[len(path)-1]
		dir = parent.children[name]
		if dir == nil || !dir.isDir() {
			dir = newDir(o)
			parent.children[name] = dir
		}
	} else {
		t.rootOwned = true
	}
	dir.owner, dir.mode, dir.xattrs, dir.listed = o, mode, xattrs, true
	for _, attr := range xattrs {
		t.kept += len(attr.Name) + len(attr.Value)
	}
}

// putLink adds a hard link to target: to what is there now, or to what will be there at the end.
func (t *tree) putLink(path []string, o owner, target []string, entry, targetName string) error {
	n := &node{owner: o}
	switch existing := t.at(target); {
	case existing == nil || existing.link != nil:
		n.link = &pendingLink{entry: entry, targetName: targetName, path: path, target: target}
		t.pending = append(t.pending, n)
		t.kept += componentSize * (len(path) + len(target))
	case existing.isDir():
		return entryError(entry, fmt.Errorf("a hard link to the directory %s", quote(targetName)))
	default:
		n.content = existing.content
	}
	t.put(path, n)
	return nil
}

// settleLinks gives the hard links that still wait for their target its content. needed says which of them matter.
func (t *tree) settleLinks(ctx context.Context, needed func(path []string) bool) error {
	for _, n := range t.pending {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n.link == nil || !needed(n.link.path) || t.at(n.link.path) != n {
			continue
		}
		if err := t.settle(n); err != nil {
			return entryError(n.link.entry, fmt.Errorf("a hard link to %s, %w", quote(n.link.targetName), err))
		}
	}
	return nil
}

// settle follows a chain of links to its end and settles all of it, so that each link is followed once.
func (t *tree) settle(n *node) error {
	var chain []*node
	for n.link != nil {
		chain = append(chain, n)
		if len(chain) > len(t.pending) {
			return errors.New("which is a hard link that leads back to it")
		}
		target, err := t.resolve(n.link.target)
		if err != nil {
			return fmt.Errorf("where %w", err)
		}
		if n = t.at(target); n == nil {
			return errors.New("which is not in this layer")
		}
	}
	if n.isDir() {
		return errors.New("which is a directory")
	}
	for _, link := range chain {
		link.content, link.link = n.content, nil
	}
	return nil
}
