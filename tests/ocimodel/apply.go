package ocimodel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// apply unpacks one layer over a tree.
//
// Markers go first, wherever they stand: they are about lower layers only.
func (t *tree) apply(l Layer) error {
	before := t.clone()
	for _, e := range l.Entries {
		if e.isMarker() {
			if err := t.hide(e.Path); err != nil {
				return err
			}
		}
	}
	u := &unpacking{tree: t, before: before, written: map[string]bool{}}
	for _, e := range l.Entries {
		if e.isMarker() {
			continue
		}
		if err := u.add(e); err != nil {
			return fmt.Errorf("entry %q: %w", e.Path, err)
		}
	}
	return u.finish()
}

// hide obeys one marker.
func (t *tree) hide(marker string) error {
	dir, name := split(marker)
	r, err := t.route(dir)
	if err != nil {
		return err
	}
	d := t.at(r.real)
	if d == nil {
		return nil
	}
	if name == opaqueMarker {
		clear(d.children)
	} else {
		delete(d.children, strings.TrimPrefix(name, whiteoutPrefix))
	}
	return nil
}

// unpacking is the state of one layer while it is unpacked.
type unpacking struct {
	tree    *tree
	before  *tree           // of the lower layers
	written map[string]bool // real paths that this layer wrote
	pending []Entry         // hard links whose target is still to come
}

var errNoTarget = errors.New("the hard link's target isn't in the image")

func (u *unpacking) add(e Entry) error {
	if e.Path == "" {
		u.tree.Node = e.node()
		return nil
	}
	dir, name := split(e.Path)
	r, err := u.tree.route(dir)
	if err != nil {
		return err
	}
	n := e.node()
	if e.Type == HardLink {
		target, err := u.target(e.Link)
		if err != nil {
			return err
		}
		if target == nil {
			u.pending = append(u.pending, e)
			return nil
		}
		n = target.Node
	}
	d := u.tree.ensure(r.real)
	if old := d.children[name]; n.Type == Dir && old != nil && old.Type == Dir {
		old.Node, old.implied = n, false
	} else {
		d.children[name] = newTree(n)
	}
	u.written[join(r.real, name)] = true
	return nil
}

// target gives what a hard link leads to: what this layer has there already, or else what the lower
// layers have, or nil.
func (u *unpacking) target(path string) (*tree, error) {
	if u.written[path] {
		return u.tree.at(path), nil
	}
	dir, name := split(path)
	r, err := u.before.route(dir)
	if err != nil {
		return nil, err
	}
	if found := u.before.at(join(r.real, name)); found != nil && found.Type != Dir {
		return found, nil
	}
	return nil, nil
}

// finish makes the hard links whose targets came later.
func (u *unpacking) finish() error {
	for len(u.pending) > 0 {
		before := u.pending
		u.pending = nil
		for _, e := range before {
			if err := u.add(e); err != nil {
				return err
			}
		}
		if len(u.pending) == len(before) {
			return errNoTarget
		}
	}
	return nil
}

// node is what the entry makes at its path.
func (e Entry) node() Node {
	n := Node{Type: e.Type, Mode: e.Mode, UID: e.UID, GID: e.GID, Content: e.Content, Xattrs: maps.Clone(e.Xattrs)}
	if e.Type == Symlink {
		n.Mode, n.Target = 0o777, e.Link
	}
	// Labels are those of the host's policy, not the archive's.
	delete(n.Xattrs, "security.selinux")
	if len(n.Xattrs) == 0 {
		n.Xattrs = nil
	}
	return n
}

// Unpack gives the image's tree in its own paths.
func Unpack(img Image) (map[string]Node, error) {
	t, err := unpack(img)
	if err != nil {
		return nil, err
	}
	return t.nodes(), nil
}

func unpack(img Image) (*tree, error) {
	t := newTree(Node{Type: Dir, Mode: 0o755})
	for i, l := range img.Layers {
		if err := t.apply(l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return t, nil
}

// Rules are the path rules of an import.
type Rules struct {
	FactoryVar bool // /var goes to usr/share/factory/var, as for libostree < 2024.3
}

// Flatten gives the tree of the image's commit.
func Flatten(img Image, rules Rules) (map[string]Node, error) {
	t, err := unpack(img)
	if err != nil {
		return nil, err
	}
	t.move("etc", "usr/etc")
	if rules.FactoryVar {
		t.move("var", "usr/share/factory/var")
	}
	for _, top := range volatileTops {
		if d := t.children[top]; d != nil && d.implied {
			delete(t.children, top) // nothing in the commit implies it
		} else if d != nil {
			clear(d.children)
		}
	}
	return t.nodes(), nil
}

var volatileTops = []string{"run", "tmp", "proc", "sys", "dev"}

// move moves a top level to another place, over what is there. A symbolic link to that place stays
// out: what it stands for is there already.
func (t *tree) move(top, to string) {
	moved := t.children[top]
	if moved == nil {
		return
	}
	r, err := t.route(top)
	delete(t.children, top)
	if moved.Type == Symlink && err == nil && r.real == to {
		return
	}
	dir, name := split(to)
	t.ensure(dir).overlay(name, moved)
}

// overlay lays something over what a directory has under a name.
func (t *tree) overlay(name string, over *tree) {
	lower := t.children[name]
	if lower == nil || lower.Type != Dir || over.Type != Dir {
		t.children[name] = over
		return
	}
	lower.Node = over.Node
	for name, child := range over.children {
		lower.overlay(name, child)
	}
}

// Paths lists the paths of a tree in order.
func Paths(nodes map[string]Node) []string { return slices.Sorted(maps.Keys(nodes)) }
