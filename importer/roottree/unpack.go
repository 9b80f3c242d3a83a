package roottree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Unpack writes a tree into the directory dir, which exists, is empty, and is out of everybody
// else's reach; in the end dir has the owner, mode and extended attributes of the tree's root. It
// takes root's rights. Times are those of the moment. keep is as for NewArchive. step, if not nil,
// is called after each entry. Errors have the path.
func Unpack(ctx context.Context, source Source, root objects.TreeDir, dir string, keep KeepXattr, step func()) error {
	if keep == nil {
		keep = func(string) bool { return true }
	}
	if step == nil {
		step = func() {}
	}
	u := &unpacker{source: source, dir: dir, keep: keep, buffer: make([]byte, copyBuffer)}
	err := Walk(ctx, source, root, func(e Entry) error {
		if err := u.add(ctx, e); err != nil {
			return at(e.Path, err)
		}
		step()
		return nil
	})
	if err != nil {
		return err
	}
	// From the deepest to the root, since a directory may be one that nothing can be written to.
	for _, e := range slices.Backward(u.dirs) {
		if err := u.finish(e); err != nil {
			return at(e.Path, err)
		}
	}
	return nil
}

type unpacker struct {
	source Source
	dir    string
	keep   KeepXattr
	buffer []byte
	dirs   []Entry
}

func (u *unpacker) add(ctx context.Context, e Entry) error {
	if e.IsDir() {
		u.dirs = append(u.dirs, e)
		if e.Path == "" {
			return nil
		}
		return os.Mkdir(u.path(e), 0o700)
	}
	return u.file(ctx, e)
}

func (u *unpacker) path(e Entry) string { return filepath.Join(u.dir, e.Path) }

func (u *unpacker) file(ctx context.Context, e Entry) (err error) {
	c, err := open(u.source, e.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	path := u.path(e)
	if c.IsSymlink() {
		if err := os.Symlink(c.Target, path); err != nil {
			return err
		}
		if err := os.Lchown(path, int(c.UID), int(c.GID)); err != nil {
			return err
		}
		return u.setXattrs(path, c.Xattrs)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(c.copyTo(ctx, f, u.buffer), f.Close()); err != nil {
		return err
	}
	return u.own(path, c.UID, c.GID, c.Mode, c.Xattrs)
}

func (u *unpacker) finish(e Entry) error {
	m, err := u.source.DirMeta(e.Dir.Meta)
	if err != nil {
		return err
	}
	return u.own(u.path(e), m.UID, m.GID, m.Mode, m.Xattrs)
}

// own sets what a file or directory has beside its content. A change of the owner takes bits of the
// mode and capabilities away, and a change of the mode changes access control lists: hence the
// order.
func (u *unpacker) own(path string, uid, gid, mode uint32, xattrs objects.Xattrs) error {
	if err := os.Lchown(path, int(uid), int(gid)); err != nil {
		return err
	}
	mode = KeptMode(mode, xattrs, u.keep) & permissions
	if err := unix.Chmod(path, mode); err != nil {
		return fmt.Errorf("mode %#o: %w", mode, err)
	}
	return u.setXattrs(path, xattrs)
}

func (u *unpacker) setXattrs(path string, xattrs objects.Xattrs) error {
	for _, x := range xattrs {
		if !u.keep(x.Name) {
			continue
		}
		if err := unix.Lsetxattr(path, x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("extended attribute %s: %w", x.Name, err)
		}
	}
	return nil
}
