package layertar

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys of a layer commit's metadata.
const (
	MetaDiffID   = "ostree-importd.diff-id"    // s: the diffID that was verified
	MetaRules    = "ostree-importd.path-rules" // s: Rules.String
	MetaFiltered = "ostree-importd.filtered"   // a{su}: how many entries were left out, by key; absent for none
	// MetaImplied (as) names the directories that the archive doesn't list, by their paths in the commit without a leading slash, ""
	// for the root, sorted; absent for none.
	MetaImplied  = "ostree-importd.implied-dirs"
	MetaPolicy   = "ostree-importd.selinux-policy" // s: Labels.ID of the labels; absent for none
	MetaImporter = "ostree.importer.version"       // s: Importer

	// Importer is the value of MetaImporter. It changes when the same layer and rules give another commit.
	Importer = "ostree-importd 1"
)

// writeCommit applies the rules to a tree whose contents are written and whose hard links are settled, and writes its directories and
// the commit. The tree is used up.
func writeCommit(ctx context.Context, st *ostreerepo.Staging, t *tree, opts Options, diffID digest.Digest, filtered map[string]uint32) (objects.Checksum, error) {
	root, err := t.place(opts.Rules)
	if err != nil {
		return objects.Checksum{}, err
	}
	w := &treeWriter{st: st, labels: opts.Labels, relabeled: make(map[relabeling]objects.Checksum)}
	dir, err := w.write(ctx, root, "")
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("writing the layer's directories: %w", err)
	}
	if opts.Labels != nil {
		if err := opts.Labels.Err(); err != nil {
			return objects.Checksum{}, err
		}
	}
	metadata := objects.Dict{
		MetaDiffID:   objects.String(diffID.String()),
		MetaRules:    objects.String(opts.Rules.String()),
		MetaImporter: objects.String(Importer),
	}
	if opts.Labels != nil {
		metadata[MetaPolicy] = objects.String(opts.Labels.ID())
	}
	if len(filtered) > 0 {
		metadata[MetaFiltered] = objects.Counts(filtered)
	}
	if len(w.implied) > 0 {
		slices.Sort(w.implied)
		metadata[MetaImplied] = objects.Strings(w.implied)
	}
	commit, err := st.WriteCommit(objects.Commit{Metadata: metadata, Tree: dir.Tree, Meta: dir.Meta})
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("writing the layer commit: %w", err)
	}
	return commit, nil
}

// place gives the root of what the rules keep, where they put it. What is moved comes to lie over what has stood there.
func (t *tree) place(rules Rules) (*node, error) {
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
		if len(rules.place(name)) > 1 {
			moved = append(moved, name)
			continue
		}
		root.children[name] = n
	}
	for _, name := range moved {
		if err := root.move(rules.place(name), t.root.children[name]); err != nil {
			return nil, blob.NewEntryError(name, err)
		}
	}
	return &root, nil
}

// move lays n over what is at path below the directory dir.
func (dir *node) move(path []string, n *node) error {
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
	dir.overlay(path[len(path)-1], n)
	return nil
}

// overlay lays n over the child called name.
func (dir *node) overlay(name string, n *node) {
	lower := dir.children[name]
	if lower == nil || !lower.isDir() || !n.isDir() {
		dir.children[name] = n
		return
	}
	if n.listed {
		lower.owner, lower.mode, lower.xattrs, lower.listed = n.owner, n.mode, n.xattrs, true
	}
	for childName, child := range n.children {
		lower.overlay(childName, child)
	}
}

// treeWriter writes directories and collects the paths of those that are implied.
type treeWriter struct {
	st        *ostreerepo.Staging
	labels    Labels // nil for none
	relabeled map[relabeling]objects.Checksum
	implied   []string
}

// write writes the directory at path and all below it, and gives its checksums.
func (w *treeWriter) write(ctx context.Context, dir *node, path string) (objects.TreeDir, error) {
	if ctx.Err() != nil {
		return objects.TreeDir{}, context.Cause(ctx)
	}
	if !dir.listed {
		w.implied = append(w.implied, path)
	}
	var tree objects.DirTree
	for _, name := range slices.Sorted(maps.Keys(dir.children)) {
		child := dir.children[name]
		switch {
		case isAufs(name):
		case child.isDir():
			below, err := w.write(ctx, child, strings.TrimPrefix(path+"/"+name, "/"))
			if err != nil {
				return objects.TreeDir{}, err
			}
			below.Name = name
			tree.Dirs = append(tree.Dirs, below)
		default:
			sum, err := w.file(child, name, path)
			if err != nil {
				return objects.TreeDir{}, err
			}
			tree.Files = append(tree.Files, objects.TreeFile{Name: name, Checksum: sum})
		}
	}
	treeSum, err := w.st.WriteDirTree(tree)
	if err != nil {
		return objects.TreeDir{}, err
	}
	mode := syscall.S_IFDIR | dir.mode
	xattrs := labeled(w.labels, "/"+path, mode, dir.xattrs)
	metaSum, err := w.st.WriteDirMeta(objects.DirMeta{UID: dir.owner.uid, GID: dir.owner.gid, Mode: mode, Xattrs: xattrs})
	if err != nil {
		return objects.TreeDir{}, err
	}
	return objects.TreeDir{Tree: treeSum, Meta: metaSum}, nil
}
