package layertar

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys of a layer commit's metadata.
const (
	MetaDiffID   = "ostree-importd.diff-id"    // s: the diffID that was verified
	MetaRules    = "ostree-importd.path-rules" // s: Rules.String
	MetaFiltered = "ostree-importd.filtered"   // a{su}: how many entries were left out, by key; absent for none
	// MetaOwn (as) names the paths in the commit of what the image has there itself, where the
	// rules put something else: for example usr/etc, unless it is the image's etc. Sorted; absent
	// for none.
	MetaOwn = "ostree-importd.own-places"
	// MetaMore (s) is MoreName if the tree has that file; absent if not.
	MetaMore = "ostree-importd.more-entries"
	// MetaImplied (as) names the directories that the archive doesn't list, by their paths in the
	// commit without a leading slash, "" for the root, sorted; absent for none.
	MetaImplied  = "ostree-importd.implied-dirs"
	MetaPolicy   = "ostree-importd.selinux-policy" // s: Labels.ID of the labels; absent for none
	MetaTree     = "ostree-importd.tree"           // s: TreeID of the commit's tree
	MetaImporter = "ostree.importer.version"       // s: Importer

	// Importer is the value of MetaImporter. It changes when the same layer and rules give another
	// commit.
	Importer = "ostree-importd 1"
)

// TreeID is the value of MetaTree for a commit of this tree. Another program that rewrites a layer
// commit, as ostree-ext does to label it by another policy, keeps the metadata: one whose MetaTree
// is not its tree's is not what its other keys say.
func TreeID(tree objects.TreeDir) string { return tree.Tree.String() + " " + tree.Meta.String() }

// writeCommit applies the rules to a tree whose contents are written and whose hard links are
// settled, and writes its directories and the commit. The tree is used up.
func writeCommit(ctx context.Context, st *ostreerepo.Staging, t *tree, opts Options, diffID digest.Digest, filtered map[string]uint32) (objects.Checksum, error) {
	root, err := t.place(opts.Rules)
	if err != nil {
		return objects.Checksum{}, err
	}
	w := &treeWriter{st: st, labels: opts.Labels, relabeled: make(map[relabeling]objects.Checksum)}
	more, err := w.writeMore(ctx, t)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("writing what the layer's tree can't hold: %w", err)
	}
	maps.Copy(root.children, more)
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
		MetaTree:     objects.String(TreeID(dir)),
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
	if len(more) > 0 {
		metadata[MetaMore] = objects.String(MoreName)
	}
	if len(t.own) > 0 {
		metadata[MetaOwn] = objects.Strings(t.own)
	}
	commit, err := st.WriteCommit(objects.Commit{Metadata: metadata, Tree: dir.Tree, Meta: dir.Meta})
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("writing the layer commit: %w", err)
	}
	return commit, nil
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
		case isAufs(name) && (path != "" || !strings.HasPrefix(name, MoreName)):
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
