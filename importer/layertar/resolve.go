package layertar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxLinks is the number of symbolic links that one path may lead through, as in Linux.
	maxLinks = 40
	// maxLinkSteps is the number of components that all paths of a layer may have together when
	// their symbolic links are followed: a few links can stand for millions of components.
	maxLinkSteps = 16 << 20
	// maxRemembered bounds the components of the resolved links that are kept in memory.
	maxRemembered = 1 << 20
)

// links remembers where the symbolic links of a layer lead. What they lead to depends only on
// which paths are symbolic links, so what is remembered holds until one comes or goes.
type links struct {
	resolved   map[*node]resolvedLink
	remembered int // components in resolved
	steps      int // components that were followed for the whole layer
}

// resolvedLink is the path that a symbolic link leads to, without links, and the number of links
// on the way.
type resolvedLink struct {
	path  []string
	links int
}

// forget drops what is remembered.
func (l *links) forget() {
	clear(l.resolved)
	l.remembered = 0
}

// remember keeps a copy of what a link leads to.
func (l *links) remember(n *node, path []string, count int) {
	if l.remembered += len(path); l.remembered > maxRemembered {
		l.forget()
		return
	}
	if l.resolved == nil {
		l.resolved = make(map[*node]resolvedLink)
	}
	l.resolved[n] = resolvedLink{slices.Clone(path), count}
}

// isSymlink reports whether the node is a symbolic link.
func (n *node) isSymlink() bool { return n != nil && n.content != nil && n.content.target != "" }

// resolve follows this layer's symbolic links in all components but the last, staying below the
// root. What doesn't exist stays as it is written.
//
// Where a target goes up from something that only the lower layers know, which may be another
// symbolic link there, known is false and the path is returned as it is: the merge can tell.
func (t *tree) resolve(path []string) (resolved []string, known bool, err error) {
	if !t.crossesLink(path) {
		return path, true, nil
	}
	w := walk{tree: t, nodes: []*node{t.root}}
	for _, name := range path[:len(path)-1] {
		switch err := w.step(name); {
		case err == errAboveUnknown:
			return path, false, nil
		case err != nil:
			return nil, false, err
		}
	}
	resolved, err = checkResolved(append(w.path, path[len(path)-1]))
	return resolved, true, err
}

// errAboveUnknown is for the parent of what this layer doesn't list.
var errAboveUnknown = errors.New("only the lower layers know what is there")

// crossesLink reports whether a component but the last is a symbolic link.
func (t *tree) crossesLink(path []string) bool {
	n := t.root
	for _, name := range path[:max(0, len(path)-1)] {
		if n = n.children[name]; n == nil {
			return false
		}
		if n.isSymlink() {
			return true
		}
	}
	return false
}

// walk follows one path through a layer.
type walk struct {
	tree  *tree
	path  []string // where it is, without links
	nodes []*node  // the root and what is at each component of path; nil where nothing is
	links int      // followed so far
}

// step goes on to one component.
func (w *walk) step(name string) error {
	if w.tree.links.steps++; w.tree.links.steps > maxLinkSteps {
		return fmt.Errorf("the layer's symbolic links make its paths longer than %d components together",
			maxLinkSteps)
	}
	switch name {
	case "", ".":
		return nil
	case "..":
		if here := w.nodes[len(w.nodes)-1]; len(w.path) > 0 && (here == nil || here.isDir() && !here.listed) {
			return errAboveUnknown
		}
		w.path, w.nodes = w.path[:max(0, len(w.path)-1)], w.nodes[:max(1, len(w.nodes)-1)]
		return nil
	}
	var next *node
	if dir := w.nodes[len(w.nodes)-1]; dir != nil {
		next = dir.children[name]
	}
	if next.isSymlink() {
		return w.follow(next)
	}
	w.path, w.nodes = append(w.path, name), append(w.nodes, next)
	return nil
}

// follow goes to where a symbolic link in the present directory leads.
func (w *walk) follow(link *node) error {
	before := w.links
	known, ok := w.tree.links.resolved[link]
	if w.links++; ok {
		w.links = before + known.links
	}
	if w.links > maxLinks {
		return fmt.Errorf("the path leads through more than %d symbolic links", maxLinks)
	}
	if ok {
		return w.jump(known.path)
	}
	if strings.HasPrefix(link.content.target, "/") {
		w.path, w.nodes = w.path[:0], w.nodes[:1]
	}
	for name := range strings.SplitSeq(link.content.target, "/") {
		if err := w.step(name); err != nil {
			return err
		}
	}
	w.tree.links.remember(link, w.path, w.links-before)
	return nil
}

// jump goes to a path without links.
func (w *walk) jump(path []string) error {
	w.path, w.nodes = w.path[:0], w.nodes[:1]
	for _, name := range path {
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

// checkResolved holds what targets of symbolic links bring to the same rules as paths.
func checkResolved(path []string) ([]string, error) {
	length := 0
	for _, name := range path {
		if err := validName(name); err != nil {
			return nil, fmt.Errorf("through a symbolic link: %w", err)
		}
		length += len(name) + 1
	}
	if length > maxPath {
		return nil, fmt.Errorf("the path with its symbolic links resolved is longer than %d bytes", maxPath)
	}
	return path, nil
}
