package merge

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// labeledMeta is a dirmeta that is to have a label, or none.
type labeledMeta struct {
	meta  objects.Checksum
	label string
}

// label gives the dirmeta with the label of a directory at a place in the merged tree.
func (m *merger) label(meta objects.Checksum, at string) (objects.Checksum, error) {
	if m.policy == nil {
		return meta, nil
	}
	var labels objects.Xattrs // one or none
	key := labeledMeta{meta: meta}
	if label, ok := m.policy.Xattr("/"+m.paths.inCommit(at), unix.S_IFDIR); ok {
		labels, key.label = objects.Xattrs{label}, string(label.Value)
	}
	if known, ok := m.labeled[key]; ok {
		return known, nil
	}
	d, err := m.st.DirMeta(meta)
	if err != nil {
		return objects.Checksum{}, err
	}
	others := slices.DeleteFunc(slices.Clone(d.Xattrs), func(attr objects.Xattr) bool { return attr.Name == selinux.XattrName })
	d.Xattrs = append(others, labels...)
	labeled, err := m.st.WriteDirMeta(d)
	if err != nil {
		return objects.Checksum{}, err
	}
	m.labeled[key] = labeled
	return labeled, nil
}

// misplaced tells whether what a layer has at a path needs other labels at a place in the merged
// tree: a symbolic link took it there.
func (m *merger) misplaced(path, at string) bool { return m.policy != nil && path != at }

// relabel gives a dirtree with the labels of a place in the merged tree.
func (m *merger) relabel(tree objects.Checksum, at string) (objects.Checksum, error) {
	relabeled, _, err := selinux.Relabel(m.ctx, m.st, objects.TreeDir{Tree: tree, Meta: m.plain}, m.policy, "/"+m.paths.inCommit(at))
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("what a symbolic link takes to %.200q: %w", at, err)
	}
	return relabeled.Tree, nil
}

// relabelFiles gives the files of a directory with the labels of its place in the merged tree.
func (m *merger) relabelFiles(files []objects.TreeFile, at string) ([]objects.TreeFile, error) {
	if len(files) == 0 {
		return nil, nil
	}
	tree, err := m.st.WriteDirTree(objects.DirTree{Files: files})
	if err != nil {
		return nil, err
	}
	if tree, err = m.relabel(tree, at); err != nil {
		return nil, err
	}
	t, err := m.read(tree)
	return t.Files, err
}
