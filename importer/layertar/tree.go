package layertar

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	impliedMode = 0o755 // of directories that the archive doesn't list, which are root's
	dirSize     = 512   // bytes that a directory takes without its name, also when it is written
	nodeSize    = 256   // bytes that anything else takes without its name

	componentSize = 16 // bytes of a path's component in a list, without its text
)

// node is an entry of a layer: a directory, a content (file, symbolic link or marker), or a hard link whose target hasn't come yet.
type node struct {
	owner    owner            // of a directory
	children map[string]*node // of a directory; not nil
	mode     uint32           // of a directory: the permissions
	xattrs   objects.Xattrs   // of a directory
	listed   bool             // of a directory: the archive has an entry for it
	content  *content
	link     *pendingLink
	shared   bool // the content was written for another path
}

func (n *node) isDir() bool { return n.children != nil }

// newDir is a directory that no entry lists.
func newDir() *node {
	return &node{mode: impliedMode, children: make(map[string]*node)}
}

// pendingLink is a hard link to a path that has no entry yet.
type pendingLink struct {
	entry, targetName string
	path, target      []string
	droppable         bool // without its target it is left out
}

// tree is a layer as the image has it, before path rules. Paths are lists of components.
type tree struct {
	root    *node
	pending []*node
	held    map[string]*heldFile // files that aren't in the layer except through hard links, by path
	kept    int                  // bytes, roughly, that it takes, names and attributes included
	links   links
}

// heldFile is a file that is held back for the hard links to it.
type heldFile struct {
	content  *content
	modified bool // after the commit was encapsulated
	used     bool
}

func newTree() *tree { return &tree{root: newDir(), held: make(map[string]*heldFile)} }

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

// parent gives the directory that holds path's last component. Directories that are missing are implied, and take the place of
// what is in the way.
func (t *tree) parent(path []string) *node {
	dir, length := t.root, 0
	for _, name := range path[:len(path)-1] {
		length += len(name) + 1
		next := dir.children[name]
		if next == nil || !next.isDir() {
			next = newDir()
			t.setChild(dir, name, next)
			t.kept += 2 * length // its path will stand in the commit's metadata
		}
		dir = next
	}
	return dir
}

// put sets what is at a path, whatever was there.
func (t *tree) put(path []string, n *node) {
	t.setChild(t.parent(path), path[len(path)-1], n)
}

// setChild sets what a directory has under a name.
func (t *tree) setChild(dir *node, name string, n *node) {
	if n.isSymlink() || dir.children[name].isSymlink() {
		t.links.forget()
	}
	dir.children[name] = n
	if n.isDir() {
		t.kept += dirSize
	} else {
		t.kept += nodeSize
	}
}

// putDir lists a directory. One that is there already keeps what it holds.
func (t *tree) putDir(path []string, o owner, mode uint32, xattrs objects.Xattrs) {
	dir := t.root
	if len(path) > 0 {
		parent, name := t.parent(path), path[len(path)-1]
		dir = parent.children[name]
		if dir == nil || !dir.isDir() {
			dir = newDir()
			t.setChild(parent, name, dir)
		}
	}
	dir.owner, dir.mode, dir.xattrs, dir.listed = o, mode, xattrs, true
	for _, attr := range xattrs {
		t.kept += len(attr.Name) + len(attr.Value)
	}
}

// hold keeps a file for the hard links to it.
func (t *tree) hold(path []string, f *heldFile) {
	name := strings.Join(path, "/")
	t.held[name] = f
	t.kept += nodeSize + len(name)
}

// takeHeld gives the content that is held back at a path, or nil.
func (t *tree) takeHeld(path []string) *content {
	if len(t.held) == 0 {
		return nil
	}
	held := t.held[strings.Join(path, "/")]
	if held == nil {
		return nil
	}
	held.used = true
	return held.content
}

// putLink adds a hard link: to what is at its target now, or to what will be there at the end.
func (t *tree) putLink(link *pendingLink) error {
	n := &node{shared: true}
	existing := t.at(link.target)
	switch held := t.takeHeld(link.target); {
	case held != nil:
		n.content = held
	case existing == nil || existing.link != nil:
		n.link = link
		t.pending = append(t.pending, n)
		t.kept += componentSize * (len(link.path) + len(link.target))
	case existing.isDir():
		return blob.NewEntryError(link.entry, fmt.Errorf("a hard link to the directory %s", blob.Quote(link.targetName)))
	default:
		n.content = existing.content
	}
	t.put(link.path, n)
	return nil
}

// errNoTarget is that of a hard link that leads nowhere.
var errNoTarget = errors.New("which is not in this layer")

// settleLinks gives the hard links that still wait for their target its content, and takes those out that may be left out. needed says
// which of them matter.
func (t *tree) settleLinks(ctx context.Context, needed func(path []string) bool) (dropped int, err error) {
	for _, n := range t.pending {
		if ctx.Err() != nil {
			return dropped, context.Cause(ctx)
		}
		if n.link == nil || !needed(n.link.path) || t.at(n.link.path) != n {
			continue
		}
		switch err := t.settle(n); {
		case err == errNoTarget && n.link.droppable:
			path := n.link.path
			delete(t.at(path[:len(path)-1]).children, path[len(path)-1])
			dropped++
		case err != nil:
			return dropped, blob.NewEntryError(n.link.entry, fmt.Errorf("a hard link to %s, %w", blob.Quote(n.link.targetName), err))
		}
	}
	return dropped, nil
}

// settle follows a chain of links to its end and settles all of it, so that each link is followed once.
func (t *tree) settle(n *node) error {
	var chain []*node
	var found *content
	for found == nil {
		chain = append(chain, n)
		if len(chain) > len(t.pending) {
			return errors.New("which is a hard link that leads back to it")
		}
		target, err := t.resolve(n.link.target)
		if err != nil {
			return fmt.Errorf("where %w", err)
		}
		if found = t.takeHeld(target); found != nil {
			break
		}
		if n = t.at(target); n == nil {
			return errNoTarget
		}
		if n.isDir() {
			return errors.New("which is a directory")
		}
		found = n.content
	}
	for _, link := range chain {
		link.content, link.link = found, nil
	}
	if found.target != "" {
		t.links.forget()
	}
	return nil
}
