package layertar

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// selinuxXattr holds an SELinux label.
const selinuxXattr = "security.selinux"

// unlabeled is the path of what is not, or not yet, anywhere in the commit.
const unlabeled = ""

// labelPath gives the path in the commit that decides on the label of an entry.
func (r *reader) labelPath(path []string) string {
	if r.opts.Labels == nil {
		return unlabeled
	}
	if _, filtered := r.opts.Rules.filterKey(path); filtered {
		return unlabeled
	}
	return r.opts.Rules.inCommit(path)
}

// labeled adds the label of what has an absolute path in the commit to its other attributes. The
// empty path has no label.
func labeled(labels Labels, path string, mode uint32, xattrs objects.Xattrs) objects.Xattrs {
	if labels == nil || path == unlabeled {
		return xattrs
	}
	label, ok := labels.Xattr(path, mode)
	if !ok {
		return xattrs
	}
	return append(slices.Clip(xattrs), label)
}

// relabeling is a file that is written again with another label.
type relabeling struct {
	file  objects.Checksum
	label string
}

// file gives the checksum that an entry has in the directory at path. The file of a hard link has
// been written with the label of another path, or with none.
func (w *treeWriter) file(n *node, name, path string) (objects.Checksum, error) {
	written := n.content
	if w.labels == nil || !n.shared {
		return written.checksum, nil
	}
	path = strings.TrimSuffix("/"+path, "/") + "/" + name
	mode := uint32(syscall.S_IFREG)
	if written.target != "" {
		mode = syscall.S_IFLNK
	}
	var labels objects.Xattrs // one or none
	if label, ok := w.labels.Xattr(path, mode); ok {
		labels = objects.Xattrs{label}
	}
	key := relabeling{file: written.checksum}
	if len(labels) > 0 {
		key.label = string(labels[0].Value)
	}
	if known, ok := w.relabeled[key]; ok {
		return known, nil
	}
	sum, err := w.relabel(written, labels)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("labelling %s: %w", path, err)
	}
	w.relabeled[key] = sum
	return sum, nil
}

// relabel gives the file with other labels, which is written if they are not those that it has.
func (w *treeWriter) relabel(written *content, labels objects.Xattrs) (sum objects.Checksum, err error) {
	header, data, err := w.st.OpenFile(written.checksum)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	others := slices.DeleteFunc(slices.Clone(header.Xattrs), func(attr objects.Xattr) bool { return attr.Name == selinuxXattr })
	wanted := append(others, labels...).Canonical()
	if reflect.DeepEqual(wanted, header.Xattrs) {
		return written.checksum, nil
	}
	header.Xattrs = wanted
	if header.IsSymlink() {
		return w.st.WriteSymlink(header)
	}
	return w.st.WriteFile(header, written.size, data)
}
