package ostreerepo

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// layout writes content objects as a repository mode stores them. The files are temporary ones;
// nobody else uses them yet.
type layout interface {
	// regular writes the content, of size bytes, and the metadata of a regular file. content writes
	// the former to its argument.
	regular(f tempFile, h objects.FileHeader, size int64, content func(io.Writer) error) error
	// symlink creates the file at, which does not exist yet, for a symlink.
	symlink(at tempName, h objects.FileHeader) error
}

func layoutOf(mode Mode) (layout, error) {
	switch mode {
	case ModeBare:
		return bareLayout{}, nil
	case ModeBareUser:
		return bareUserLayout{}, nil
	case ModeArchive:
		return archiveLayout{}, nil
	}
	return nil, unsupportedMode(mode)
}

const (
	permissions = 0o7777
	// plainMode is the mode of files whose owner and mode mean nothing: metadata objects, files of
	// archive repositories.
	plainMode = 0o644
)

// epoch sets the modification time 0, which checkouts as hard links pass on, and leaves the access
// time.
var epoch = []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {}}

// bareLayout is that of files as they will be in the checkout, with real owners, modes and extended
// attributes.
type bareLayout struct{}

func (bareLayout) regular(f tempFile, h objects.FileHeader, size int64, content func(io.Writer) error) error {
	if err := f.writeContent(size, content); err != nil {
		return err
	}
	if err := unix.Fchown(f.fd, int(h.UID), int(h.GID)); err != nil {
		return chownError(h, err)
	}
	// After the owner, whose change takes away set-uid and file capabilities.
	if err := unix.Fchmod(f.fd, h.Mode&permissions); err != nil {
		return f.error("chmod", err)
	}
	for _, attr := range h.Xattrs {
		if err := unix.Fsetxattr(f.fd, attr.Name, attr.Value, 0); err != nil {
			return f.xattrError(attr, err)
		}
	}
	got, err := readBareHeader(f.fd)
	if err == nil {
		err = checkKept(h, got)
	}
	if err != nil {
		return f.error("read back", err)
	}
	return f.setTime()
}

func (bareLayout) symlink(at tempName, h objects.FileHeader) error {
	if err := unix.Symlinkat(h.Target, at.dir, at.name); err != nil {
		return at.error("symlink", err)
	}
	if err := unix.Fchownat(at.dir, at.name, int(h.UID), int(h.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return chownError(h, err)
	}
	// There is no call for attributes that takes a directory and a name.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", at.dir, at.name)
	for _, attr := range h.Xattrs {
		if err := unix.Lsetxattr(path, attr.Name, attr.Value, 0); err != nil {
			return at.xattrError(attr, err)
		}
	}
	got, err := readBareSymlink(path)
	if err == nil {
		err = checkKept(h, got)
	}
	if err != nil {
		return at.error("read back", err)
	}
	return nil
}

func chownError(h objects.FileHeader, err error) error {
	err = fmt.Errorf("cannot give a file to user %d, group %d: %w", h.UID, h.GID, err)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w; only root can write to a repository of mode %s, others need one of mode %s", err, ModeBare, ModeBareUser)
	}
	return err
}

// bareUserLayout keeps owner, mode and extended attributes in one attribute, so that it needs no
// privilege.
type bareUserLayout struct{}

func (bareUserLayout) regular(f tempFile, h objects.FileHeader, size int64, content func(io.Writer) error) error {
	if err := f.writeContent(size, content); err != nil {
		return err
	}
	// The checkout is made of the same files, with the file's own mode as far as that is harmless;
	// we must be able to read it.
	const harmless, readable = 0o775, 0o400
	return finishBareUser(f, h, h.Mode&harmless|readable)
}

// symlink makes a regular file that holds the target and a NUL.
func (bareUserLayout) symlink(at tempName, h objects.FileHeader) error {
	f, err := at.create()
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, h.Target+"\x00")
	if err == nil {
		err = finishBareUser(f, h, plainMode)
	}
	return errors.Join(err, f.close())
}

func finishBareUser(f tempFile, h objects.FileHeader, mode uint32) error {
	// Before the mode, which may forbid it to a user other than root.
	meta := objects.Xattr{Name: bareUserAttr, Value: h.BareUserMeta()}
	if err := unix.Fsetxattr(f.fd, meta.Name, meta.Value, 0); err != nil {
		return f.xattrError(meta, err)
	}
	if err := unix.Fchmod(f.fd, mode); err != nil {
		return f.error("chmod", err)
	}
	return f.setTime()
}

// archiveLayout is that of a header followed by the deflated content.
type archiveLayout struct{}

// deflaters are costly to make.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		panic(err) // only for an invalid level
	}
	return w
}}

func (archiveLayout) regular(f tempFile, h objects.FileHeader, size int64, content func(io.Writer) error) error {
	if _, err := f.Write(h.ArchivePrefix(uint64(size))); err != nil {
		return err
	}
	deflater := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(deflater)
	deflater.Reset(f)
	if err := content(deflater); err != nil {
		return err
	}
	if err := deflater.Close(); err != nil {
		return err
	}
	return f.setPlain()
}

func (archiveLayout) symlink(at tempName, h objects.FileHeader) error {
	f, err := at.create()
	if err != nil {
		return err
	}
	_, err = f.Write(h.ArchivePrefix(0))
	if err == nil {
		err = f.setPlain()
	}
	return errors.Join(err, f.close())
}
