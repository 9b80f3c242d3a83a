package layertar

import (
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	impliedMode = 0o755 // of directories that the archive doesn't list, which are root's
	dirSize     = 512   // bytes that a directory takes without its name, also when it is written
	nodeSize    = 256   // bytes that anything else takes without its name

	componentSize = 16 // bytes of a path's component in a list, without its text
)

// node is an entry of a layer: a directory, a content (file, symbolic link or marker), or a hard
// link whose target hasn't come yet.
type node struct {
	owner    owner            // of a directory
	children map[string]*node // of a directory; not nil
	mode     uint32           // of a directory: the permissions
	xattrs   objects.Xattrs   // of a directory
	listed   bool             // of a directory: the archive has an entry for it
	content  *content
	link     *pendingLink // of a hard link that came before its target; the content is nil until that is known
	shared   bool         // the content was written for another path
}

func (n *node) isDir() bool { return n.children != nil }

// newDir is a directory that no entry lists.
func newDir() *node {
	return &node{mode: impliedMode, children: make(map[string]*node)}
}

// tree is a layer as the image has it, before path rules. Paths are lists of components.
type tree struct {
	root    *node
	pending []*node
	more    []moreEntry          // in the order of the archive
	covered []moreEntry          // of the image's tree, where something else comes to lie over it
	dropped map[string]bool      // paths of special files that are left out
	own     []string             // paths in the commit of what the image has where the rules move something
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

func newTree() *tree {
	return &tree{root: newDir(), held: make(map[string]*heldFile), dropped: make(map[string]bool)}
}

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

// parent gives the directory that holds path's last component. Directories that are missing are
// implied, and take the place of what is in the way.
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
