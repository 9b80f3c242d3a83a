package merge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/layertree"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Options says how the layers were written.
type Options struct {
	// Rules are the path rules that the layer commits were made with.
	Rules layertar.Rules
	// Labels is the policy that base and layers are labelled by; nil for none.
	Labels *selinux.Policy
	// Foreign names the layer commits of another program that are to be overlaid as ostree-ext does
	// it: their directories change none that exists.
	Foreign map[objects.Checksum]bool
	// Memory is what the merged tree is taken from; nil for a budget of the default size.
	Memory *budget.Share
}

// Tree is the result of a merge: the checksums of a root dirtree and its dirmeta.
type Tree struct {
	Tree, Meta objects.Checksum
}

// LayerError says which layer a merge failed at.
type LayerError struct {
	Index int // counted from 1
	Err   error
}

func (e *LayerError) Error() string { return fmt.Sprintf("layer %d: %v", e.Index, e.Err) }

// Unwrap gives the cause.
func (e *LayerError) Unwrap() error { return e.Err }

// Merge overlays the layer commits, lowest first, over the tree of base, or over an empty tree when
// base is nil. It reads everything through st and writes the directories that it had to make into
// it, and files that a symbolic link takes to a place where the policy wants another label. An
// entry that can't be placed is a *layertar.EntryError; every error that concerns one layer is
// inside a *LayerError.
//
// Nothing in base is a marker, whatever its name.
//
// Directories that a layer's commit metadata does not name as implied count as listed, so commits
// of other tools, which don't record it, are overlaid as if their archive had listed every
// directory.
func Merge(ctx context.Context, st ostreerepo.Objects, base *objects.Commit, layers []objects.Checksum, opts Options) (Tree, error) {
	m := &merger{
		ctx: ctx, st: st, paths: newPaths(opts.Rules), policy: opts.Labels, memory: opts.Memory, foreign: opts.Foreign,
		labeled: map[labeledMeta]objects.Checksum{}, marked: map[objects.Checksum]bool{},
		dropped: map[string]bool{},
	}
	if m.memory == nil {
		m.memory = budget.Alone()
	}
	if err := m.begin(base); err != nil {
		return Tree{}, err
	}
	if base != nil && len(layers) > 0 {
		if err := m.unplace(); err != nil {
			return Tree{}, err
		}
	}
	for i, commit := range layers {
		if err := m.overlay(commit); err != nil {
			return Tree{}, &LayerError{Index: i + 1, Err: err}
		}
	}
	if len(layers) > 0 { // a base alone stays as it is
		if err := m.place(); err != nil {
			return Tree{}, err
		}
	}
	if err := m.tidy(); err != nil {
		return Tree{}, err
	}
	if err := m.write(m.root); err != nil {
		return Tree{}, err
	}
	if err := m.policy.Err(); err != nil {
		return Tree{}, err
	}
	return Tree{Tree: m.root.tree, Meta: m.root.meta}, nil
}

// merger is the state of one merge.
type merger struct {
	ctx     context.Context // of the one call that this value lives for
	st      ostreerepo.Objects
	paths   paths
	policy  *selinux.Policy
	memory  *budget.Share
	foreign map[objects.Checksum]bool
	root    *dir
	layer   *layertree.Tree // the one that is overlaid

	dropped map[string]bool // paths of special files that were left out, and of hard links to them

	plain objects.Checksum // dirmeta of a directory that nothing describes: 0755, owned by root, without a label
	made  int              // directories that ensure has made

	followed int // components of paths with symbolic links

	labeled map[labeledMeta]objects.Checksum // what label has written
	marked  map[objects.Checksum]bool        // dirtrees whose answer hasMarker knows
}

// begin makes the root that the layers are put over.
func (m *merger) begin(base *objects.Commit) error {
	var err error
	if m.plain, err = m.st.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755}); err != nil {
		return err
	}
	if base != nil {
		m.root = &dir{tree: base.Tree, meta: base.Meta}
		return nil
	}
	meta, err := m.label(m.plain, "")
	m.root = newDir(meta)
	return err
}

// overlay puts one layer over the tree so far.
func (m *merger) overlay(commit objects.Checksum) error {
	c, err := m.st.Commit(commit)
	if err != nil {
		return err
	}
	tree, err := layertree.Open(m.st, c, m.paths.rules)
	if err != nil {
		return fmt.Errorf("commit %s: %w", commit, err)
	}
	if err := m.takeNames(slices.Collect(maps.Keys(tree.Implied))); err != nil {
		return err
	}
	if m.foreign[commit] {
		if err := m.implyAll(tree, tree.Root.Tree, ""); err != nil {
			return err
		}
	}
	l := &layer{merger: m, tree: tree, content: map[string]bool{}}
	m.layer = tree
	if err := l.readMore(); err != nil {
		return err
	}
	if err := l.hide(m.root, tree.Root.Tree, "", ""); err != nil {
		return err
	}
	if err := l.hideMore(); err != nil {
		return err
	}
	if !tree.Implied[""] {
		m.root.meta = c.Meta
	}
	if err := l.add(m.root, tree.Root.Tree, "", ""); err != nil {
		return err
	}
	if err := l.addLinked(); err != nil {
		return err
	}
	if err := l.addMore(); err != nil {
		return err
	}
	return m.checkPlaces()
}

// implyAll makes all directories of a layer implied ones: the directory at path and those below it.
func (m *merger) implyAll(tree *layertree.Tree, dir objects.Checksum, path string) error {
	if err := m.takeNames([]string{path}); err != nil {
		return err
	}
	tree.Implied[path] = true
	t, err := tree.DirTree(dir)
	if err != nil {
		return err
	}
	for _, d := range t.Dirs {
		if m.ctx.Err() != nil {
			return context.Cause(m.ctx)
		}
		if err := m.implyAll(tree, d.Tree, join(path, d.Name)); err != nil {
			return err
		}
	}
	return nil
}

// hasMarker tells whether a layer's directory holds a marker, at any depth.
func (m *merger) hasMarker(tree objects.Checksum) (bool, error) {
	if known, ok := m.marked[tree]; ok {
		return known, nil
	}
	t, err := m.read(tree)
	if err != nil {
		return false, err
	}
	found := false
	for _, f := range t.Files {
		found = found || isMarker(f.Name)
	}
	for _, d := range t.Dirs {
		if found = found || isMarker(d.Name); found {
			break
		}
		if found, err = m.hasMarker(d.Tree); err != nil {
			return false, err
		}
	}
	m.marked[tree] = found
	return found, m.memory.Take(nameSize)
}

// read reads a dirtree, unless the merge is canceled.
func (m *merger) read(tree objects.Checksum) (objects.DirTree, error) {
	if err := m.ctx.Err(); err != nil {
		return objects.DirTree{}, err
	}
	if m.layer != nil {
		return m.layer.DirTree(tree)
	}
	return m.st.DirTree(tree)
}

const (
	markerPrefix = ".wh."
	opaqueMarker = ".wh..wh..opq"
	otherMarker  = ".wh..wh." // plumbing of aufs: hides nothing
)

func isMarker(name string) bool { return strings.HasPrefix(name, markerPrefix) }

// hidden gives the name that a whiteout hides.
func hidden(marker string) (name string, ok bool) {
	if strings.HasPrefix(marker, otherMarker) {
		return "", false
	}
	return strings.CutPrefix(marker, markerPrefix)
}
