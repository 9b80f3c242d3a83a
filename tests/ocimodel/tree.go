package ocimodel

import (
	"errors"
	"maps"
	"strings"
)

// tree is a directory of a file system in memory, or what else a path can lead to.
type tree struct {
	Node
	children map[string]*tree // of a directory
	implied  bool             // a directory that no archive lists
}

func newTree(n Node) *tree { return &tree{Node: n, children: map[string]*tree{}} }

// clone copies a tree; contents and xattrs are shared, nobody changes them.
func (t *tree) clone() *tree {
	c := newTree(t.Node)
	c.implied = t.implied
	for name, child := range t.children {
		c.children[name] = child.clone()
	}
	return c
}

// at gives what a path leads to, following no links; nil for nothing.
func (t *tree) at(path string) *tree {
	for path != "" && t != nil {
		var name string
		name, path, _ = strings.Cut(path, "/")
		t = t.children[name]
	}
	return t
}

// nodes lists the tree by path; the root is "".
func (t *tree) nodes() map[string]Node {
	all := map[string]Node{}
	t.collect("", all)
	return all
}

func (t *tree) collect(path string, into map[string]Node) {
	into[path] = t.Node
	for name, child := range t.children {
		child.collect(join(path, name), into)
	}
}

// route is how a path leads to a directory.
type route struct {
	real    string   // the path without links; what is missing there is taken as it is written
	visited []string // every real path on the way
	links   []string // those of them that are symbolic links
}

const maxLinks = 40

var errLoop = errors.New("too many symbolic links")

// route follows a path and the symbolic links on it, inside the root.
func (t *tree) route(path string) (route, error) {
	var r route
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		component := rest[0]
		rest = rest[1:]
		switch component {
		case "", ".":
			continue
		case "..":
			r.real, _ = split(r.real)
			continue
		}
		next := join(r.real, component)
		r.visited = append(r.visited, next)
		found := t.at(next)
		if found == nil || found.Type != Symlink {
			r.real = next
			continue
		}
		r.links = append(r.links, next)
		if len(r.links) > maxLinks {
			return route{}, errLoop
		}
		if strings.HasPrefix(found.Target, "/") {
			r.real = ""
		}
		rest = append(strings.Split(found.Target, "/"), rest...)
	}
	return r, nil
}

// ensure makes the directory at a real path, and those above it. A directory that no archive lists
// is root's.
func (t *tree) ensure(path string) *tree {
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		child := t.children[name]
		if child == nil || child.Type != Dir {
			child = newTree(Node{Type: Dir, Mode: 0o755})
			child.implied = true
			t.children[name] = child
		}
		t = child
	}
	return t
}

// Equal tells whether two nodes are the same.
func (n Node) Equal(o Node) bool {
	return n.Type == o.Type && n.Mode == o.Mode && n.UID == o.UID && n.GID == o.GID && n.Target == o.Target &&
		string(n.Content) == string(o.Content) && maps.Equal(n.Xattrs, o.Xattrs)
}
