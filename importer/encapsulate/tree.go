package encapsulate

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Bounds of a commit's tree. A few objects are enough to describe one of any size, since a
// directory may stand in it many times.
const (
	maxEntries = 4 << 20 // paths, as many as importers accept in a layer
	maxPath    = 4096    // bytes
)

// sysroot is the top-level directory in which an image has its OSTree repository. What a commit has
// there does not get a place in the image's file system.
const sysroot = "sysroot"

// tree is a commit as it is to be written. Paths are relative and without a leading "./".
type tree struct {
	repo     *ostreerepo.Repo
	root     objects.TreeDir
	trees    map[objects.Checksum]objects.DirTree
	dirs     []dir // without the root, each before what is in it
	contents map[objects.Checksum]*content
	files    map[string]objects.Checksum
	isDir    map[string]bool
	links    map[string]place // what paths lead to that are none of isDir
	size     int64            // of all contents
}

// place is a directory that symlinks lead to.
type place struct {
	path string
	ok   bool // there is one
}

// dir is a directory of the commit.
type dir struct {
	path string
	objects.TreeDir
}

// content is a content object of the commit.
type content struct {
	checksum objects.Checksum
	size     int64    // in bytes
	paths    []string // in the order of the tree; never empty
}

// scan reads all directories of a commit.
func scan(ctx context.Context, repo *ostreerepo.Repo, root objects.TreeDir) (*tree, error) {
	t := &tree{
		repo: repo, root: root, trees: make(map[objects.Checksum]objects.DirTree), contents: make(map[objects.Checksum]*content),
		files: make(map[string]objects.Checksum), isDir: make(map[string]bool), links: make(map[string]place),
	}
	n, err := t.load(ctx, root.Tree, "", make(map[objects.Checksum]int))
	if err == nil && n > maxEntries {
		err = fmt.Errorf("the commit has more than %d files and directories, which no importer accepts", maxEntries)
	}
	if err == nil {
		err = t.scanDir(ctx, root, "")
	}
	return t, err
}

// load reads the dirtree objects, each once, and tells how many paths there are below one: so that
// a tree with too many is refused without walking them.
func (t *tree) load(ctx context.Context, c objects.Checksum, at string, known map[objects.Checksum]int) (int, error) {
	if n, again := known[c]; again {
		return n, nil
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err := checkPath(at); err != nil {
		return 0, err
	}
	entries, err := t.repo.DirTree(c)
	if err != nil {
		return 0, fmt.Errorf("/%s: %w", at, err)
	}
	n := len(entries.Files) + len(entries.Dirs)
	for _, child := range entries.Dirs {
		below, err := t.load(ctx, child.Tree, path.Join(at, child.Name), known)
		if err != nil {
			return 0, err
		}
		n = min(n+below, maxEntries+1)
	}
	t.trees[c], known[c] = entries, n
	return n, nil
}

// scanDir notes what is in a directory.
func (t *tree) scanDir(ctx context.Context, d objects.TreeDir, at string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.isDir[at] = true
	for _, f := range t.trees[d.Tree].Files {
		if err := t.addFile(f, path.Join(at, f.Name)); err != nil {
			return err
		}
	}
	for _, child := range t.trees[d.Tree].Dirs {
		below := path.Join(at, child.Name)
		if err := checkPath(below); err != nil {
			return err
		}
		t.dirs = append(t.dirs, dir{below, child})
		if err := t.scanDir(ctx, child, below); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) addFile(f objects.TreeFile, at string) error {
	if err := checkPath(at); err != nil {
		return err
	}
	known := t.contents[f.Checksum]
	if known == nil {
		size, err := contentSize(t.repo, f.Checksum)
		if err != nil {
			return fmt.Errorf("/%s: %w", at, err)
		}
		known = &content{checksum: f.Checksum, size: size}
		t.contents[f.Checksum] = known
		t.size += size
	}
	known.paths = append(known.paths, at)
	t.files[at] = f.Checksum
	return nil
}

func checkPath(at string) error {
	if len(at) > maxPath {
		return fmt.Errorf("/%.200s…: the path has more than %d bytes, which no importer accepts", at, maxPath)
	}
	return nil
}

// sorted gives the contents in the order of their checksums.
func (t *tree) sorted() []*content {
	return slices.SortedFunc(maps.Values(t.contents), func(a, b *content) int { return bytes.Compare(a.checksum[:], b.checksum[:]) })
}

const (
	// maxLinks is how many symlinks are followed on the way to a file, as in Linux.
	maxLinks = 40
	// maxPlaces bounds how many paths are remembered that are not the commit's own; what else a
	// database names is not looked for.
	maxPlaces = 1 << 20
)

// find gives the content that a path of a package stands for, which may be absolute, lead through
// symlinks to directories, or name what the commit keeps below usr/etc; nil when there is none. The
// last component is not followed.
func (t *tree) find(name string) *content {
	if len(name) > maxPath {
		return nil
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	parent, base := path.Split(name)
	at, ok := t.realDir(strings.TrimSuffix(parent, "/"), maxLinks)
	if !ok {
		return nil
	}
	return t.contents[t.files[path.Join(at, base)]]
}

// realDir gives the path of the directory that a path leads to, following at most n symlinks.
func (t *tree) realDir(name string, n int) (real string, ok bool) {
	if t.isDir[name] {
		return name, true
	}
	known, again := t.links[name]
	if !again {
		if name == "" || n == 0 || len(name) > maxPath || len(t.links) >= maxPlaces {
			return "", false
		}
		known.path, known.ok = t.followDir(name, n)
		t.links[name] = known
	}
	return known.path, known.ok
}

func (t *tree) followDir(name string, n int) (real string, ok bool) {
	parent, base := path.Split(name)
	at, ok := t.realDir(strings.TrimSuffix(parent, "/"), n)
	if !ok {
		return "", false
	}
	full := path.Join(at, base)
	if t.isDir[full] {
		return full, true
	}
	if full == "etc" && t.isDir["usr/etc"] {
		return "usr/etc", true
	}
	target := t.linkTarget(full)
	if target == "" {
		return "", false
	}
	if !path.IsAbs(target) {
		target = path.Join("/", at, target)
	}
	return t.realDir(strings.TrimPrefix(path.Clean(target), "/"), n-1)
}

// linkTarget gives the target of a symlink, or "" for anything else. An object that can't be read
// is told of when it is written.
func (t *tree) linkTarget(name string) string {
	c, found := t.files[name]
	if !found {
		return ""
	}
	h, r, err := t.repo.OpenFile(c)
	if err != nil {
		return ""
	}
	r.Close()
	return h.Target
}
