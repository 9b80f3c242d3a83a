package layertar

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// pendingLink is a hard link to a path that has no entry yet.
type pendingLink struct {
	entry, targetName string
	path, target      []string
	droppable         bool  // without its target it is left out
	here              bool  // no lower layer can have its target
	failed            error // errNoTarget or errTargetDropped, once that is known
	visited           bool  // by the search for a target that is under way
	kept              bool  // the merge has to look for its target in the lower layers
}

// putLink adds a hard link: to what is at its target now, or to what will be there at the end. It
// reports whether the link is left out because its target is a special file that is left out.
func (t *tree) putLink(link *pendingLink) (dropped bool, err error) {
	n := &node{shared: true}
	existing := t.at(link.target)
	switch held := t.takeHeld(link.target); {
	case held != nil:
		n.content = held
	case existing == nil && t.isDropped(link.target):
		t.drop(link.path, tar.TypeFifo)
		return true, nil
	case existing != nil && existing.isDir() && (existing.listed || len(link.target) == 0):
		return false, blob.NewEntryError(link.entry, fmt.Errorf("a hard link to the directory %s", blob.Quote(link.targetName)))
	case existing == nil || existing.isDir() || existing.link != nil && existing.content == nil:
		if existing != nil && existing.link != nil { // both are links to the same, whatever comes at their paths later
			link.target = existing.link.target
		}
		n.link = link
		t.pending = append(t.pending, n)
		t.addMore(moreEntry{typeflag: tar.TypeLink, path: link.path, link: link})
	default:
		n.content = existing.content
	}
	t.put(link.path, n)
	return false, nil
}

// drop notes a special file that is left out, for the hard links to it in this layer and in those
// above.
func (t *tree) drop(path []string, typeflag byte) {
	t.dropped[strings.Join(path, "/")] = true
	t.addMore(moreEntry{typeflag: typeflag, path: path, dropped: true})
}

// isDropped reports whether a special file at a path is left out.
func (t *tree) isDropped(path []string) bool {
	return len(t.dropped) > 0 && t.dropped[strings.Join(path, "/")]
}

// remove takes what is at a path out of the tree.
func (t *tree) remove(path []string) {
	delete(t.at(path[:len(path)-1]).children, path[len(path)-1])
}

// errNoTarget is for a hard link to what this layer doesn't have.
var errNoTarget = errors.New("which is not in this layer")

// errTargetDropped is for a hard link to a special file that is left out.
var errTargetDropped = errors.New("which is left out")

// leftOut counts hard links that are left out.
type leftOut struct{ special, sysroot int }

// settleLinks gives the hard links that still wait for their target its content. The others stay
// for the merge, unless they may be left out. needed says which of them matter.
func (t *tree) settleLinks(ctx context.Context, needed func(path []string) bool) (out leftOut, err error) {
	for _, n := range t.pending {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		link := n.link
		if !needed(link.path) || t.at(link.path) != n {
			continue
		}
		switch err := t.settle(n); {
		case err == errTargetDropped:
			t.remove(link.path)
			t.drop(link.path, tar.TypeFifo)
			out.special++
		case err == errNoTarget && link.droppable:
			t.remove(link.path)
			out.sysroot++
		case err == errNoTarget && !link.here:
			t.remove(link.path)
			link.kept = true
		case err != nil:
			return out, blob.NewEntryError(link.entry, fmt.Errorf("a hard link to %s, %w", blob.Quote(link.targetName), err))
		default:
			link.kept = !link.here
		}
	}
	return out, nil
}

// settle follows a chain of links to its end and settles all of it, so that each link is followed
// once.
func (t *tree) settle(n *node) error {
	var chain []*node
	var err error
	for n.content == nil {
		chain = append(chain, n)
		n.link.visited = true
		next, failed := t.next(n.link)
		if err = failed; err != nil {
			break
		}
		n = next
	}
	for _, link := range chain {
		link.link.visited = false
		if err == nil {
			link.content = n.content
		} else if err == errNoTarget || err == errTargetDropped {
			link.link.failed = err
		}
	}
	if err == nil && n.content.target != "" {
		t.links.forget()
	}
	return err
}

// next gives what a link leads to: a node with a content, or another link.
func (t *tree) next(link *pendingLink) (*node, error) {
	if link.failed != nil {
		return nil, link.failed
	}
	target, known, err := t.resolve(link.target)
	if err != nil { // the way that it had in the lower layers may be another
		return nil, errNoTarget
	}
	if held := t.takeHeld(target); held != nil {
		return &node{content: held}, nil
	}
	next := t.at(target)
	switch {
	case next == nil && t.isDropped(target):
		return nil, errTargetDropped
	case !known || next == nil || next.isDir():
		return nil, errNoTarget
	case next.content == nil && next.link.visited:
		return nil, errors.New("which is a hard link that leads back to it")
	}
	return next, nil
}
