package selinux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// maxEntries bounds the tree: a few objects are enough to describe one of any size.
	maxEntries = 64 << 20
	// markerPrefix begins the names of a layer's whiteouts and opaque markers.
	markerPrefix = ".wh."
)

// Stats counts what Relabel did.
type Stats struct {
	Entries    int64 // files, symlinks and directories in the tree
	Relabelled int64 // those of them whose label was another
}

// Relabel gives the tree in which every file, symlink and directory of tree has the label that the
// policy gives to its path: at is the path of tree itself, "/" for a whole commit. What the policy
// leaves without a label gets none, though `ostree commit` would leave it one that it has: so the
// result depends on the policy and on what the tree holds, not on the policies that it was labelled
// by before. A nil policy changes nothing.
//
// Objects are read through st, and only those are written into it of which a label changes, besides
// the directories above them. Errors: those of st, ErrUnusable for an expression of the policy that
// takes too long, and the cause that ctx ended of.
func Relabel(ctx context.Context, st ostreerepo.Objects, tree objects.TreeDir, p *Policy, at string) (objects.TreeDir, Stats, error) {
	return relabel(ctx, st, tree, p, at, false)
}

// RelabelLayer is Relabel for the tree of a layer commit, in which whiteouts and opaque markers are
// not files of the image: they get no label.
func RelabelLayer(ctx context.Context, st ostreerepo.Objects, tree objects.TreeDir, p *Policy) (objects.TreeDir, Stats, error) {
	return relabel(ctx, st, tree, p, "/", true)
}

func relabel(
	ctx context.Context, st ostreerepo.Objects, tree objects.TreeDir, p *Policy, at string, markers bool,
) (objects.TreeDir, Stats, error) {
	if p == nil {
		return tree, Stats{}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &relabeller{
		st: st, policy: p, markers: markers, fail: cancel, workers: make(chan struct{}, runtime.GOMAXPROCS(0)-1),
		metas: map[metaAt]objects.Checksum{}, files: map[fileAt]objects.Checksum{},
	}
	r.entries.Add(1)
	done, err := r.dir(ctx, tree, at)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // where several fail, the first
	}
	if err == nil {
		err = p.Err()
	}
	stats := Stats{Entries: r.entries.Load(), Relabelled: r.relabelled.Load()}
	if err != nil {
		return objects.TreeDir{}, stats, fmt.Errorf("relabel: %w", err)
	}
	done.Name = tree.Name
	return done, stats, nil
}

// relabeller walks a tree. Subdirectories are done by several goroutines as long as there are
// workers to spare.
type relabeller struct {
	st      ostreerepo.Objects
	policy  *Policy
	markers bool // names of markers mean markers
	fail    context.CancelCauseFunc
	workers chan struct{} // holds a value for each goroutine beside the first

	entries, relabelled atomic.Int64

	mu    sync.Mutex // what was written before: many objects are at many paths
	metas map[metaAt]objects.Checksum
	files map[fileAt]objects.Checksum
}

type metaAt struct {
	meta  objects.Checksum
	label *label
}

type fileAt struct {
	file  objects.Checksum
	label *label
}

// dir relabels the directory at path.
func (r *relabeller) dir(ctx context.Context, d objects.TreeDir, path string) (objects.TreeDir, error) {
	done, err := r.contents(ctx, d.Tree, path)
	if err == nil {
		d.Tree = done
		d.Meta, err = r.meta(d.Meta, path)
	}
	if err != nil {
		r.fail(err)
	}
	return d, err
}

// contents relabels what the directory at path holds.
func (r *relabeller) contents(ctx context.Context, c objects.Checksum, path string) (objects.Checksum, error) {
	if ctx.Err() != nil {
		return c, ctx.Err() // the cause is told in the end
	}
	old, err := r.st.DirTree(c)
	if err != nil {
		return c, entryError(path, err)
	}
	n := len(old.Files) + len(old.Dirs)
	if r.entries.Add(int64(n)) > maxEntries {
		return c, fmt.Errorf("the tree has more than %d entries", maxEntries)
	}
	t := objects.DirTree{Files: make([]objects.TreeFile, len(old.Files)), Dirs: make([]objects.TreeDir, len(old.Dirs))}
	var group errgroup.Group
	for i, d := range old.Dirs {
		below := join(path, d.Name)
		if len(below) > maxPath {
			return c, errors.Join(entryError(below, fmt.Errorf("the path has more than %d bytes", maxPath)), group.Wait())
		}
		r.spare(&group, func() (err error) {
			t.Dirs[i], err = r.dir(ctx, d, below)
			return err
		})
	}
	for i, f := range old.Files {
		t.Files[i] = f
		if ctx.Err() != nil {
			break
		}
		if t.Files[i].Checksum, err = r.file(f, join(path, f.Name)); err != nil {
			r.fail(err)
			break
		}
	}
	if err := errors.Join(err, group.Wait(), ctx.Err()); err != nil {
		return c, err
	}
	if same(old, t) {
		return c, nil
	}
	return r.st.WriteDirTree(t)
}

// spare runs f in a goroutine of the group if there is a worker to spare, and else at once.
func (r *relabeller) spare(group *errgroup.Group, f func() error) {
	select {
	case r.workers <- struct{}{}:
		group.Go(func() error {
			defer func() { <-r.workers }()
			return f()
		})
	default:
		if err := f(); err != nil {
			group.Go(func() error { return err })
		}
	}
}

// same tells whether two directories with the same names hold the same.
func same(a, b objects.DirTree) bool {
	for i := range a.Files {
		if a.Files[i] != b.Files[i] {
			return false
		}
	}
	for i := range a.Dirs {
		if a.Dirs[i] != b.Dirs[i] {
			return false
		}
	}
	return true
}

// meta relabels the metadata of the directory at path.
func (r *relabeller) meta(c objects.Checksum, path string) (objects.Checksum, error) {
	m, err := r.st.DirMeta(c)
	if err != nil {
		return c, entryError(path, err)
	}
	want, err := r.label(path, m.Mode)
	if err != nil {
		return c, err
	}
	if want.isOf(m.Xattrs) {
		return c, nil
	}
	r.relabelled.Add(1)
	return remember(r, r.metas, metaAt{c, want}, func() (objects.Checksum, error) {
		m.Xattrs = want.replace(m.Xattrs)
		c, err := r.st.WriteDirMeta(m)
		return c, entryError(path, err)
	})
}

// file relabels the file or symlink at path.
func (r *relabeller) file(f objects.TreeFile, path string) (objects.Checksum, error) {
	h, content, err := r.st.OpenFile(f.Checksum)
	if err != nil {
		return f.Checksum, entryError(path, err)
	}
	want, err := r.label(path, h.Mode)
	if err != nil {
		return f.Checksum, errors.Join(err, content.Close())
	}
	if r.markers && strings.HasPrefix(f.Name, markerPrefix) {
		want = nil
	}
	if want.isOf(h.Xattrs) {
		return f.Checksum, entryError(path, content.Close())
	}
	r.relabelled.Add(1)
	c, err := remember(r, r.files, fileAt{f.Checksum, want}, func() (objects.Checksum, error) {
		h.Xattrs = want.replace(h.Xattrs)
		if h.IsSymlink() {
			return r.st.WriteSymlink(h)
		}
		return r.st.WriteCopy(f.Checksum, h)
	})
	return c, entryError(path, errors.Join(err, content.Close()))
}

// label gives the label of a path, nil for none.
func (r *relabeller) label(path string, mode uint32) (*label, error) {
	l := r.policy.find(path, mode)
	return l, r.policy.Err()
}

// remember gives what was made for a key before, or makes it. Two goroutines may make the same at
// the same time.
func remember[K comparable](
	r *relabeller, made map[K]objects.Checksum, key K, make func() (objects.Checksum, error),
) (objects.Checksum, error) {
	r.mu.Lock()
	c, ok := made[key]
	r.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := make()
	if err != nil {
		return c, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	made[key] = c
	return c, nil
}

// isOf tells whether the attributes have this label, or, for nil, have none.
func (l *label) isOf(x objects.Xattrs) bool {
	count := 0
	for _, attr := range x {
		if attr.Name != XattrName {
			continue
		}
		if count++; l == nil || count > 1 || !bytes.Equal(attr.Value, l.xattr.Value) {
			return false
		}
	}
	return l == nil || count == 1
}

// replace gives the attributes with this label in place of those they have; nil takes it away.
func (l *label) replace(x objects.Xattrs) objects.Xattrs {
	replaced := make(objects.Xattrs, 0, len(x)+1)
	for _, attr := range x {
		if attr.Name != XattrName {
			replaced = append(replaced, attr)
		}
	}
	if l != nil {
		replaced = append(replaced, l.xattr)
	}
	return replaced
}

// join gives the path of an entry of a directory.
func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

// entryError says which path an error is about.
func entryError(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%.200q: %w", path, err)
}
