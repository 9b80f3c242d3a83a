package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// tempName is the name of a temporary file in a staging. System calls are made on a directory's
// descriptor and a short name: with many small files, paths from the root and the bookkeeping of
// os.File would be a good part of the cost.
type tempName struct {
	dir  int
	name string
}

func (n tempName) error(op string, err error) error {
	return &fs.PathError{Op: op, Path: n.name, Err: err}
}

// xattrError tells a full file system from an attribute that the file system has no room for in any
// file: both are ENOSPC.
func (n tempName) xattrError(attr objects.Xattr, err error) error {
	op := fmt.Sprintf("cannot set the extended attribute %q of %d bytes", attr.Name, len(attr.Value))
	switch {
	case errors.Is(err, unix.ENOSPC) && n.hasSpace():
		return fmt.Errorf("%s: the attributes of a file are more than the repository's file system can hold", op)
	case errors.Is(err, unix.ENOTSUP):
		return fmt.Errorf("%s: the repository's file system does not support it: %w", op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (n tempName) hasSpace() bool {
	var stat unix.Statfs_t
	return unix.Fstatfs(n.dir, &stat) == nil && stat.Bavail > 0
}

// create creates the file.
func (n tempName) create() (tempFile, error) {
	for {
		fd, err := unix.Openat(n.dir, n.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err == nil {
			return tempFile{tempName: n, fd: fd}, nil
		}
		if err != unix.EINTR {
			return tempFile{}, n.error("create", err)
		}
	}
}

// createPlain creates the file with the given bytes and nothing else that means anything.
func (n tempName) createPlain(b []byte) error {
	f, err := n.create()
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.setPlain()
	}
	return errors.Join(err, f.close())
}

// remove deletes the file if it is there.
func (n tempName) remove() {
	// An error is of no use: the whole staging goes away soon.
	_ = unix.Unlinkat(n.dir, n.name, 0)
}

// tempFile is an open temporary file.
type tempFile struct {
	tempName
	fd int
}

// Write writes all of p.
func (f tempFile) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(f.fd, p[written:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, f.error("write", err)
		}
		written += n
	}
	return written, nil
}

// setPlain sets the mode of a file whose owner and time mean nothing.
func (f tempFile) setPlain() error {
	if err := unix.Fchmod(f.fd, plainMode); err != nil {
		return f.error("chmod", err)
	}
	return nil
}

// setTime sets the modification time 0.
func (f tempFile) setTime() error {
	if err := unix.UtimesNanoAt(f.dir, f.name, epoch, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return f.error("set the time of", err)
	}
	return nil
}

func (f tempFile) close() error {
	if err := unix.Close(f.fd); err != nil && err != unix.EINTR {
		return f.error("close", err)
	}
	return nil
}
