package ocimodel

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Diff tells in which paths two trees differ, a line for each with both nodes. It is empty for
// equal trees.
func Diff(want, got map[string]Node) string {
	paths := maps.Clone(want)
	maps.Copy(paths, got)
	var b strings.Builder
	for _, path := range Paths(paths) {
		w, wanted := want[path]
		g, there := got[path]
		switch {
		case !there:
			fmt.Fprintf(&b, "%q: missing, want %s\n", path, w)
		case !wanted:
			fmt.Fprintf(&b, "%q: is %s, want nothing\n", path, g)
		case !w.Equal(g):
			fmt.Fprintf(&b, "%q: is %s,\n   want %s\n", path, g, w)
		}
	}
	return b.String()
}

// String describes a node on one line.
func (n Node) String() string {
	s := fmt.Sprintf("%s %04o %d:%d", n.Type, n.Mode, n.UID, n.GID)
	switch n.Type {
	case Symlink:
		s += fmt.Sprintf(" to %.200q", n.Target)
	case File:
		s += fmt.Sprintf(" of %d bytes with sha256 %.8x", len(n.Content), sha256.Sum256(n.Content))
	}
	for _, name := range slices.Sorted(maps.Keys(n.Xattrs)) {
		s += fmt.Sprintf(" %s=%.80q", name, n.Xattrs[name])
	}
	return s
}

// String lists the entries of a layer, a line for each.
func (l Layer) String() string {
	var b strings.Builder
	for _, e := range l.Entries {
		fmt.Fprintf(&b, "  %.200q %s", e.Path, e.node())
		if e.Type == HardLink {
			fmt.Fprintf(&b, " to %.200q", e.Link)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// String lists all layers.
func (img Image) String() string {
	var b strings.Builder
	for i, l := range img.Layers {
		fmt.Fprintf(&b, "layer %d:\n%s", i+1, l)
	}
	return b.String()
}
