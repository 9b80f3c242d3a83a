package layertar

import (
	"archive/tar"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Bounds of what a layer and an entry may bring. All PAX records of an entry, and so its extended
// attributes, have at most 1 MiB: that is archive/tar's own bound, as is that of names.
const (
	maxEntries = 4 << 20
	maxPath    = 4096 // bytes
	maxTarget  = 4095 // bytes of a symbolic link's target
	maxName    = 255  // bytes of a path's component, as in Linux
	maxOwner   = 1<<32 - 2
)

const permissions = 0o7777

// owner is the user and group of an entry. 2^32-1 is none: chown takes it for "leave as it is".
type owner struct{ uid, gid uint32 }

func ownerOf(h *tar.Header) (owner, error) {
	if h.Uid < 0 || h.Gid < 0 || uint64(h.Uid) > maxOwner || uint64(h.Gid) > maxOwner {
		return owner{}, fmt.Errorf("the owner %d:%d is out of range", h.Uid, h.Gid)
	}
	return owner{uint32(h.Uid), uint32(h.Gid)}, nil
}

// splitPath gives the components of an archive's path, which is relative to the image's root
// however it begins. The root has none.
func splitPath(name string) ([]string, error) {
	if len(name) > maxPath {
		return nil, fmt.Errorf("the path is %d bytes long, more than %d", len(name), maxPath)
	}
	path := make([]string, 0, strings.Count(name, "/")+1)
	for component := range strings.SplitSeq(name, "/") {
		switch component {
		case "", ".":
			continue
		case "..":
			return nil, climbs(name)
		}
		if err := validName(component); err != nil {
			return nil, err
		}
		path = append(path, component)
	}
	return path, nil
}

// climbs is the error of a path with "..".
func climbs(name string) error {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return errors.New(`the path leads out of the image: it contains ".."`)
	}
	return errors.New(`the path contains "..", which leads elsewhere behind a symbolic link`)
}

// validName checks a component of a path. A whiteout may be longer than the name that it removes,
// and so longer than any file's name.
func validName(name string) error {
	if isMarker(name) && name != opaqueMarker && len(name) > maxName {
		name = strings.TrimPrefix(name, whiteoutPrefix)
	}
	return objects.ValidName(name)
}

// checkMarkers refuses paths in which a whiteout makes no sense.
func checkMarkers(path []string) error {
	for i, name := range path {
		if !isMarker(name) || name == opaqueMarker && i == len(path)-1 {
			continue
		}
		if i < len(path)-1 {
			return fmt.Errorf("the whiteout %q can't hold anything", name)
		}
		if err := objects.ValidName(strings.TrimPrefix(name, whiteoutPrefix)); err != nil {
			return fmt.Errorf("a whiteout of no file: %w", err)
		}
	}
	return nil
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("the symbolic link has no target")
	case len(target) > maxTarget:
		return fmt.Errorf("the symbolic link's target is %d bytes long, more than %d", len(target), maxTarget)
	case !utf8.ValidString(target) || strings.ContainsRune(target, 0):
		return errors.New("the symbolic link's target contains NUL or is not UTF-8, which OSTree requires")
	}
	return nil
}

// Keys of PAX records that hold extended attributes: as they are, or with the name URL-encoded and
// the value in base64.
const (
	schilyXattr     = "SCHILY.xattr."
	libarchiveXattr = "LIBARCHIVE.xattr."
)

// xattrs returns the extended attributes of an entry of this file type, sorted. It refuses those
// that Linux never takes. Left out are those that cannot be what the image says in every
// repository: security.selinux, which comes from the policy of the host, user.ostreemeta, in which
// a bare-user repository keeps its own data, names outside the namespaces of Linux, and user
// attributes and access control lists of symbolic links, which Linux doesn't have.
func xattrs(records map[string]string, fileType uint32) (objects.Xattrs, error) {
	values := make(map[string]string)
	for key, value := range records {
		name, isLibarchive := strings.CutPrefix(key, libarchiveXattr)
		if !isLibarchive {
			continue
		}
		decodedName, err := url.PathUnescape(name)
		if err != nil {
			return nil, fmt.Errorf("the extended attribute %s: %w", blob.Quote(name), err)
		}
		decoded, err := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(value, "="))
		if err != nil {
			return nil, fmt.Errorf("the extended attribute %s: %w", blob.Quote(name), err)
		}
		values[decodedName] = string(decoded)
	}
	for key, value := range records {
		if name, isSchily := strings.CutPrefix(key, schilyXattr); isSchily {
			values[name] = value
		}
	}
	var list objects.Xattrs
	for name, value := range values {
		if !keepXattr(name, fileType == syscall.S_IFLNK) {
			continue
		}
		if err := checkXattrName(name); err != nil {
			return nil, err
		}
		list = append(list, objects.Xattr{Name: name, Value: []byte(value)})
	}
	list = list.Canonical()
	return list, list.CheckLinux(fileType)
}

func keepXattr(name string, symlink bool) bool {
	namespace, _, _ := strings.Cut(name, ".")
	switch {
	case name == selinuxXattr || name == "user.ostreemeta":
		return false
	case name == objects.XattrAccessACL || name == objects.XattrDefaultACL:
		return !symlink
	case namespace == "user":
		return !symlink
	}
	return namespace == "security" || namespace == "trusted"
}

func checkXattrName(name string) error {
	if len(name) > objects.MaxXattrName || strings.ContainsRune(name, 0) || strings.HasSuffix(name, ".") || !strings.Contains(name, ".") {
		return fmt.Errorf("%s is no name of an extended attribute", blob.Quote(name))
	}
	return nil
}
