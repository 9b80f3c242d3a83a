package layertar

import (
	"archive/tar"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// place gives the root of what the rules keep, where they put it. What is moved comes to lie over
// what the image has there itself. That is noted, so that the tree of the image can be told from
// that of the commit: by own, the paths of what is not moved although it is in such a place, and by
// more entries for what is covered.
func (t *tree) place(rules Rules) (*node, error) {
	root, moved := t.filtered(rules)
	placed := &tree{root: root}
	for _, name := range []string{"etc", whiteoutPrefix + "etc", "var", whiteoutPrefix + "var"} {
		path := rules.place(name)
		if len(path) == 1 {
			continue
		}
		if n := placed.at(path); n != nil && !slices.Contains(moved, name) {
			t.own = append(t.own, strings.Join(path, "/"))
			continue
		}
		n := root.children[name]
		if n == nil {
			continue
		}
		delete(root.children, name)
		if err := t.move(placed, name, path, n); err != nil {
			return nil, blob.NewEntryError(name, err)
		}
	}
	slices.Sort(t.own)
	return root, nil
}

// filtered returns a root with what the rules keep, still where the image has it, and the names of
// the top levels that the rules put elsewhere.
func (t *tree) filtered(rules Rules) (*node, []string) {
	root := *t.root
	root.children = make(map[string]*node)
	var moved []string
	for _, name := range slices.Sorted(maps.Keys(t.root.children)) {
		n := t.root.children[name]
		if _, out := rules.filterKey([]string{name}); out {
			continue
		}
		if isRuntimeTop(name) && n.isDir() {
			if !n.listed {
				continue
			}
			n.children = make(map[string]*node)
		}
		root.children[name] = n
		if len(rules.place(name)) > 1 {
			moved = append(moved, name)
		}
	}
	return &root, moved
}

// move puts n, which the image has at the top, at a path of the commit.
func (t *tree) move(placed *tree, top string, path []string, n *node) error {
	dir := placed.root
	for i, name := range path[:len(path)-1] {
		next := dir.children[name]
		if next == nil {
			next = newDir()
			dir.children[name] = next
		}
		if !next.isDir() {
			return fmt.Errorf("its place in a commit is %s, but %s is not a directory", strings.Join(path, "/"), strings.Join(path[:i+1], "/"))
		}
		dir = next
	}
	name := path[len(path)-1]
	own := dir.children[name]
	switch {
	case own == nil:
		dir.children[name] = n
	case own.isDir() && !n.isDir():
		t.own = append(t.own, strings.Join(path, "/"))
		t.addTree([]string{top}, n)
	default:
		t.cover(path, own, n)
		dir.children[name] = n
	}
	return nil
}

// cover lays upper over own, which the image has at a path itself, and makes upper hold both.
func (t *tree) cover(path []string, own, upper *node) {
	if !own.isDir() || !upper.isDir() {
		t.addTree(path, own)
		return
	}
	if own.listed {
		t.addCovered(moreEntry{typeflag: tar.TypeDir, path: path, dir: own})
	}
	for _, name := range slices.Sorted(maps.Keys(own.children)) {
		at := append(slices.Clip(path), name)
		child := own.children[name]
		switch over := upper.children[name]; {
		case isAufs(name):
		case over == nil:
			upper.children[name] = child
			t.own = append(t.own, strings.Join(at, "/"))
		default:
			t.cover(at, child, over)
		}
	}
}

// addTree adds what is at a path of the image, and below it, to the archive of more entries.
func (t *tree) addTree(path []string, n *node) {
	if !n.isDir() {
		e := moreEntry{typeflag: tar.TypeReg, path: path}
		if !isMarker(path[len(path)-1]) {
			e.content = n.content
			if n.content.target != "" {
				e.typeflag = tar.TypeSymlink
			}
		}
		t.addCovered(e)
		return
	}
	if n.listed || len(n.children) == 0 {
		t.addCovered(moreEntry{typeflag: tar.TypeDir, path: path, dir: n})
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if !isAufs(name) {
			t.addTree(append(slices.Clip(path), name), n.children[name])
		}
	}
}
