// Package treediff finds the differences of two commits' trees, without looking at what both have
// alike.
package treediff

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Kind says how a path differs.
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Change is one path that differs. Of a directory that only one side has, everything below is
// listed too.
type Change struct {
	Path string // absolute
	Kind Kind
	// What says what has changed of a Changed path, of "type", "content", "target", "mode", "owner"
	// and "xattrs", in this order and separated by ", ".
	What string
}

// MaxChanges is how many changes are listed at most.
const MaxChanges = 1 << 20

// maxPaths is how many bytes their paths have at most, together: a few directories that stand in
// each other many times make millions of long ones.
const maxPaths = 256 << 20

// ErrTooMany says that there are more than MaxChanges, or that their paths are too long.
var ErrTooMany = fmt.Errorf("more than %d paths differ, or they have more than %d MiB together", MaxChanges, maxPaths>>20)

// Root is the root directory of a commit.
type Root struct {
	Tree, Meta objects.Checksum
}

// Diff lists what differs from one root to another, by path. Errors: that of ctx, ErrTooMany,
// ostreerepo.ErrNoObject, ostreerepo.ErrCorrupted.
func Diff(ctx context.Context, repo *ostreerepo.Repo, from, to Root) ([]Change, error) {
	d := &differ{ctx: ctx, repo: repo}
	if err := d.dirs("/", objects.TreeDir{Tree: from.Tree, Meta: from.Meta}, objects.TreeDir{Tree: to.Tree, Meta: to.Meta}); err != nil {
		return nil, err
	}
	slices.SortFunc(d.changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return d.changes, nil
}

type differ struct {
	ctx     context.Context // of the one call that this value lives for
	repo    *ostreerepo.Repo
	changes []Change
	paths   int // bytes of their paths
}

func (d *differ) note(path string, kind Kind, what ...string) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if d.paths += len(path); len(d.changes) == MaxChanges || d.paths > maxPaths {
		return ErrTooMany
	}
	d.changes = append(d.changes, Change{path, kind, strings.Join(what, ", ")})
	return nil
}

// entry is what a directory has under a name.
type entry struct {
	dir  *objects.TreeDir
	file objects.Checksum
}

// dirs compares two directories at path, which ends in a slash only if it is the root.
func (d *differ) dirs(path string, from, to objects.TreeDir) error {
	if from.Meta != to.Meta {
		if err := d.dirMeta(path, from.Meta, to.Meta); err != nil {
			return err
		}
	}
	if from.Tree == to.Tree {
		return nil
	}
	before, err := d.entries(from.Tree)
	if err != nil {
		return err
	}
	after, err := d.entries(to.Tree)
	if err != nil {
		return err
	}
	for name, old := range before {
		child := strings.TrimSuffix(path, "/") + "/" + name
		now, still := after[name]
		switch {
		case !still:
			err = d.all(child, old, Removed)
		case old.dir != nil && now.dir != nil:
			err = d.dirs(child, *old.dir, *now.dir)
		case old.dir == nil && now.dir == nil:
			err = d.files(child, old.file, now.file)
		default:
			err = d.replaced(child, old, now)
		}
		if err != nil {
			return err
		}
	}
	for name, now := range after {
		if _, was := before[name]; !was {
			if err := d.all(strings.TrimSuffix(path, "/")+"/"+name, now, Added); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) entries(c objects.Checksum) (map[string]entry, error) {
	if d.ctx.Err() != nil {
		return nil, context.Cause(d.ctx)
	}
	tree, err := d.repo.DirTree(c)
	if err != nil {
		return nil, err
	}
	entries := make(map[string]entry, len(tree.Files)+len(tree.Dirs))
	for _, f := range tree.Files {
		entries[f.Name] = entry{file: f.Checksum}
	}
	for i := range tree.Dirs {
		entries[tree.Dirs[i].Name] = entry{dir: &tree.Dirs[i]}
	}
	return entries, nil
}

// replaced notes a directory in place of a file, or the reverse.
func (d *differ) replaced(path string, old, now entry) error {
	if err := d.note(path, Changed, "type"); err != nil {
		return err
	}
	for _, side := range []struct {
		entry
		kind Kind
	}{{old, Removed}, {now, Added}} {
		if side.dir != nil {
			return d.below(path, *side.dir, side.kind)
		}
	}
	return nil
}

// all notes a path that only one side has, with all below it.
func (d *differ) all(path string, e entry, kind Kind) error {
	if err := d.note(path, kind); err != nil || e.dir == nil {
		return err
	}
	return d.below(path, *e.dir, kind)
}

func (d *differ) below(path string, dir objects.TreeDir, kind Kind) error {
	entries, err := d.entries(dir.Tree)
	if err != nil {
		return err
	}
	for name, e := range entries {
		if err := d.all(path+"/"+name, e, kind); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) dirMeta(path string, from, to objects.Checksum) error {
	old, err := d.repo.DirMeta(from)
	if err != nil {
		return err
	}
	now, err := d.repo.DirMeta(to)
	if err != nil {
		return err
	}
	return d.note(path, Changed, attributes(header(old), header(now))...)
}

// header has the attributes of a directory.
func header(m objects.DirMeta) objects.FileHeader {
	return objects.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
}

// attributes says which of the attributes differ that every file has.
func attributes(old, now objects.FileHeader) []string {
	var what []string
	if old.Mode&0o7777 != now.Mode&0o7777 {
		what = append(what, "mode")
	}
	if old.UID != now.UID || old.GID != now.GID {
		what = append(what, "owner")
	}
	if !slices.EqualFunc(old.Xattrs, now.Xattrs, func(a, b objects.Xattr) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	}) {
		what = append(what, "xattrs")
	}
	return what
}

// files compares two files or symlinks.
func (d *differ) files(path string, from, to objects.Checksum) error {
	if from == to {
		return nil
	}
	old, oldContent, err := d.repo.OpenFile(from)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer oldContent.Close()
	now, nowContent, err := d.repo.OpenFile(to)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer nowContent.Close()
	what := attributes(old, now)
	switch {
	case old.IsSymlink() != now.IsSymlink():
		what = []string{"type"} // whose modes can't be compared
	case old.Target != now.Target:
		what = slices.Insert(what, 0, "target")
	case !old.IsSymlink():
		same := false
		if len(what) > 0 { // else only the content can make the difference
			if same, err = sameContent(d.ctx, oldContent, nowContent); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		if !same {
			what = slices.Insert(what, 0, "content")
		}
	}
	return d.note(path, Changed, what...)
}

// sameContent compares what is left of two readers.
func sameContent(ctx context.Context, a, b io.Reader) (bool, error) {
	const size = 64 << 10
	left, right := make([]byte, size), make([]byte, size)
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, errLeft := io.ReadFull(a, left)
		m, errRight := io.ReadFull(b, right)
		for _, err := range []error{errLeft, errRight} {
			if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		if errLeft != nil {
			return true, nil
		}
	}
}
