package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Usage is an amount of objects.
type Usage struct {
	Objects int
	Bytes   uint64 // that the file system would have free without them; an object that a deployment has too counts nothing
}

// Garbage is what no ref reaches.
type Garbage struct {
	Usage
	repo  *Repo
	paths []garbageObject
}

// garbageObject is the file of an object that is not reached.
type garbageObject struct {
	path  string // below objects/
	bytes uint64
}

// Garbage finds the objects that Prune would delete if the refs that without names didn't exist.
// Parents of commits count as reached, as far as they are there; of a commit that ostree knows to
// be incomplete, what is there. Errors: ErrNoObject and ErrCorrupted for a commit or directory that
// keeps Prune from doing its work.
func (r *Repo) Garbage(ctx context.Context, without map[string]bool) (*Garbage, error) {
	reached, err := r.reached(ctx, without)
	if err != nil {
		return nil, fmt.Errorf("look for unreachable objects: %w", err)
	}
	g := &Garbage{repo: r}
	if err := g.find(ctx, reached); err != nil {
		return nil, fmt.Errorf("look for unreachable objects: %w", err)
	}
	return g, nil
}

// Prune deletes the garbage, as Repo.Prune does, after it has marked its commits as incomplete:
// ostree deletes objects in no order, and of a commit that a killed one leaves it would otherwise
// take for granted that all is there.
func (g *Garbage) Prune(ctx context.Context) error {
	for _, object := range g.paths {
		name := strings.Replace(object.path, "/", "", 1)
		text, isCommit := strings.CutSuffix(name, "."+string(objects.KindCommit))
		if !isCommit {
			continue
		}
		c, err := objects.ParseChecksum(text)
		if err == nil {
			err = g.repo.MarkPartial(c)
		}
		if errors.Is(err, ErrNoSpace) {
			break // room is what a prune is for
		}
		if err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	crashpoint.Pass("prune marked")
	return g.repo.Prune(ctx)
}

// Gone tells how much of the garbage is no longer there.
func (g *Garbage) Gone() Usage {
	var gone Usage
	for _, object := range g.paths {
		if _, err := os.Lstat(filepath.Join(g.repo.path, "objects", object.path)); errors.Is(err, fs.ErrNotExist) {
			gone.add(object)
		}
	}
	return gone
}

// add counts an object. Detached metadata is not one by itself.
func (u *Usage) add(object garbageObject) {
	if !strings.HasSuffix(object.path, "."+string(objects.KindCommitMeta)) {
		u.Objects++
	}
	u.Bytes += object.bytes
}

// find lists the objects whose loose paths are not reached.
func (g *Garbage) find(ctx context.Context, reached map[objects.Checksum]kindSet) error {
	root := filepath.Join(g.repo.path, "objects")
	fanouts, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, fanout := range fanouts {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if !fanout.IsDir() || len(fanout.Name()) != 2 {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(root, fanout.Name()))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			stem, suffix, _ := strings.Cut(entry.Name(), ".")
			c, err := objects.ParseChecksum(fanout.Name() + stem)
			kind, known := kindOfSuffix[suffix]
			if err != nil || !known || reached[c]&kind != 0 {
				continue
			}
			g.note(fanout.Name()+"/"+entry.Name(), root)
		}
	}
	return nil
}

func (g *Garbage) note(path, root string) {
	object := garbageObject{path: path}
	var stat unix.Stat_t
	if unix.Lstat(filepath.Join(root, path), &stat) != nil {
		return // gone since
	}
	if stat.Nlink == 1 {
		object.bytes = uint64(stat.Blocks) * 512
		if stat.Blocks == 0 { // what was written just now may have its place on the disk only later
			object.bytes = (uint64(stat.Size) + uint64(stat.Blksize) - 1) / uint64(stat.Blksize) * uint64(stat.Blksize)
		}
	}
	g.paths = append(g.paths, object)
	g.add(object)
}

// kindSet is a set of kinds: one checksum can be of objects of several kinds.
type kindSet uint8

const (
	isCommit kindSet = 1 << iota
	isDirTree
	isDirMeta
	isFile
)

// kindOfSuffix tells which kind a file below objects/ belongs to.
var kindOfSuffix = map[string]kindSet{
	string(objects.KindCommit): isCommit, string(objects.KindCommitMeta): isCommit,
	string(objects.KindDirTree): isDirTree, string(objects.KindDirMeta): isDirMeta,
	string(objects.KindFile): isFile, "filez": isFile,
}

// reached finds what the refs reach, other than those of without.
func (r *Repo) reached(ctx context.Context, without map[string]bool) (map[objects.Checksum]kindSet, error) {
	w := walker{ctx: ctx, repo: r, reached: map[objects.Checksum]kindSet{}}
	for _, dir := range refDirs {
		refs, err := appendRefs(nil, filepath.Join(r.path, "refs", dir), "")
		if err != nil && !isNoFile(err) {
			return nil, err
		}
		for _, ref := range refs {
			if dir == "heads" && without[ref.Name] || ref.Err != nil {
				continue
			}
			if err := w.commit(ref.Commit, true); err != nil {
				return nil, fmt.Errorf("the commit of the ref %s: %w", ref.Name, err)
			}
		}
	}
	return w.reached, nil
}

// walker walks over what commits reach.
type walker struct {
	ctx     context.Context // of the one call that this value lives for
	repo    *Repo
	reached map[objects.Checksum]kindSet
	partial bool // the commit is known to be incomplete
}

// add tells whether an object is reached for the first time.
func (w *walker) add(c objects.Checksum, kind kindSet) bool {
	if w.reached[c]&kind != 0 {
		return false
	}
	w.reached[c] |= kind
	return true
}

// commit walks over a commit and its ancestors, of which only the first must be there.
func (w *walker) commit(c objects.Checksum, needed bool) error {
	for !c.IsZero() && w.add(c, isCommit) {
		commit, err := w.repo.Commit(c)
		if errors.Is(err, ErrNoObject) && !needed {
			return nil
		}
		if err != nil {
			return err
		}
		w.partial = w.repo.IsPartial(c)
		w.add(commit.Meta, isDirMeta)
		if err := w.tree(commit.Tree); err != nil {
			return err
		}
		c, needed = commit.Parent, false
	}
	return nil
}

func (w *walker) tree(c objects.Checksum) error {
	if !w.add(c, isDirTree) {
		return nil
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	tree, err := w.repo.DirTree(c)
	if errors.Is(err, ErrNoObject) && w.partial {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range tree.Files {
		w.add(file.Checksum, isFile)
	}
	for _, dir := range tree.Dirs {
		w.add(dir.Meta, isDirMeta)
		if err := w.tree(dir.Tree); err != nil {
			return err
		}
	}
	return nil
}
