package ostreerepo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// selinuxAttr holds a file's SELinux label. Linux gives one to every new file where SELinux is on,
// and does not let go of it.
const selinuxAttr = "security.selinux"

// checkKept compares what was read back of a new file with what it was given: ErrNotKept. A label
// that the file was not given does not count, because every file has one where SELinux is on.
func checkKept(given, got objects.FileHeader) error {
	if !slices.ContainsFunc(given.Xattrs, isLabel) {
		got.Xattrs = slices.DeleteFunc(got.Xattrs, isLabel)
	}
	if err := checkSame(given, got); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

func isLabel(attr objects.Xattr) bool { return attr.Name == selinuxAttr }

// checkSame returns an error that names what a file system makes of a file's owner, mode and
// extended attributes, unless it is just that. Extended attributes are sorted.
func checkSame(given, got objects.FileHeader) error {
	switch {
	case given.UID != got.UID || given.GID != got.GID:
		return fmt.Errorf("the owner %d:%d becomes %d:%d", given.UID, given.GID, got.UID, got.GID)
	case given.Target != got.Target:
		return fmt.Errorf("the target of a symlink becomes %q", got.Target)
	}
	for _, attr := range given.Xattrs {
		if !holds(got.Xattrs, attr) {
			return fmt.Errorf("the extended attribute %.200q does not keep its value", attr.Name)
		}
	}
	for _, attr := range got.Xattrs {
		if !holds(given.Xattrs, attr) {
			return fmt.Errorf("the file gets the extended attribute %.200q", attr.Name)
		}
	}
	if given.Mode != got.Mode {
		return fmt.Errorf("the mode %#o becomes %#o", given.Mode&permissions, got.Mode&permissions)
	}
	return nil
}

func holds(x objects.Xattrs, attr objects.Xattr) bool {
	i, found := slices.BinarySearchFunc(x, attr.Name, func(other objects.Xattr, name string) int {
		return strings.Compare(other.Name, name)
	})
	return found && bytes.Equal(x[i].Value, attr.Value)
}
