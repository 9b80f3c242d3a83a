package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve is how everything below a Dir is opened.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// Dir is an open directory. It must be closed. Its methods may be called by several goroutines at
// the same time, and take names without a slash; errors are *fs.PathError and *os.LinkError with
// the path that the directory had when it was opened.
type Dir struct {
	file *os.File
	// rights are those that everything below the directory is reached with; nil: those of the
	// process.
	rights *Rights
}

// OpenDir opens a directory in d.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	f, err := d.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{f, d.rights}, nil
}

// MakeDir makes a directory in d and opens it. The error is fs.ErrExist if the name is taken. What
// is opened is certainly empty and has no more than the mode perm. It is an error if somebody has
// put another directory in its place; one that is as empty cannot be told from it.
func (d *Dir) MakeDir(name string, perm uint32) (*Dir, error) {
	if err := d.Mkdir(name, perm); err != nil {
		return nil, err
	}
	made, err := d.OpenDir(name)
	if err != nil {
		return nil, err
	}
	if err := made.checkMade(perm); err != nil {
		return nil, errors.Join(d.error("make", name, err), made.Close())
	}
	return made, nil
}

// checkMade refuses a directory that is not the one that was just made.
func (d *Dir) checkMade(perm uint32) error {
	stat, err := d.Stat(".")
	if err != nil {
		return err
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	// Directories inherit the set-group-ID bit.
	if stat.Mode&0o777&^perm != 0 || len(names) > 0 {
		return errors.New("somebody has replaced the directory")
	}
	return nil
}

// Mkdir makes a directory in d. The umask applies.
func (d *Dir) Mkdir(name string, perm uint32) error {
	if err := checkName(name); err != nil {
		return d.error("mkdir", name, err)
	}
	if err := d.rights.run(func() error { return unix.Mkdirat(d.fd(), name, perm) }); err != nil {
		return d.error("mkdir", name, err)
	}
	return nil
}

// OpenFile is os.OpenFile for a file in d. It never waits for the other end of a pipe.
func (d *Dir) OpenFile(name string, flag int, perm uint32) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, d.error("open", name, err)
	}
	how := unix.OpenHow{Flags: uint64(flag | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: resolve}
	if flag&os.O_CREATE != 0 {
		how.Mode = uint64(perm)
	}
	if flag&os.O_EXCL == 0 { // it may be a pipe
		how.Flags |= unix.O_NONBLOCK
	}
	fd, err := d.open(func() (int, error) { return unix.Openat2(d.fd(), name, &how) })
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("a symbolic link is not followed here: %w", err)
	}
	if err != nil {
		return nil, d.error("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// Rename gives a file or directory in d a name in to, in place of a file that has it.
func (d *Dir) Rename(name string, to *Dir, newName string) error {
	err := errors.Join(checkName(name), checkName(newName))
	if err == nil {
		err = d.rights.run(func() error { return unix.Renameat(d.fd(), name, to.fd(), newName) })
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: d.Path(name), New: to.Path(newName), Err: err}
	}
	return nil
}

// Exchange has a file or directory in d and one in to change their places.
func (d *Dir) Exchange(name string, to *Dir, other string) error {
	err := errors.Join(checkName(name), checkName(other))
	if err == nil {
		err = d.rights.run(func() error { return unix.Renameat2(d.fd(), name, to.fd(), other, unix.RENAME_EXCHANGE) })
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: d.Path(name), New: to.Path(other), Err: err}
	}
	return nil
}

// Remove removes a file or symbolic link in d.
func (d *Dir) Remove(name string) error { return d.unlink(name, 0) }

// RemoveDir removes an empty directory in d.
func (d *Dir) RemoveDir(name string) error { return d.unlink(name, unix.AT_REMOVEDIR) }

func (d *Dir) unlink(name string, flags int) error {
	err := checkName(name)
	if err == nil {
		err = d.rights.run(func() error { return unix.Unlinkat(d.fd(), name, flags) })
	}
	if err != nil {
		return d.error("remove", name, err)
	}
	return nil
}

// Clear removes everything in d, what is called one of last only when all else is gone.
func (d *Dir) Clear(last ...string) error {
	names, err := d.Names()
	slices.SortStableFunc(names, func(a, b string) int {
		return slices.Index(last, a) - slices.Index(last, b)
	})
	for _, name := range names {
		if err != nil && slices.Contains(last, name) {
			break
		}
		err = errors.Join(err, d.removeAll(name))
	}
	return err
}

func (d *Dir) removeAll(name string) error {
	err := d.Remove(name)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	below, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	if err := errors.Join(below.Clear(), below.Close()); err != nil {
		return err
	}
	return d.RemoveDir(name)
}

// Stat describes what a name in d stands for; a symbolic link describes itself.
func (d *Dir) Stat(name string) (unix.Stat_t, error) {
	var stat unix.Stat_t
	err := checkName(name)
	if err == nil {
		err = d.rights.run(func() error { return unix.Fstatat(d.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW) })
	}
	if err != nil {
		return stat, d.error("stat", name, err)
	}
	return stat, nil
}

// Holds reports whether a name in d stands for the directory other.
func (d *Dir) Holds(name string, other *Dir) bool {
	stat, err := d.Stat(name)
	if err != nil {
		return false
	}
	open, err := other.Stat(".")
	return err == nil && stat.Dev == open.Dev && stat.Ino == open.Ino
}

// Maker returns the user and the group that what is made in d belongs to.
func (d *Dir) Maker() (uid, gid int) {
	if d.rights != nil {
		return int(d.rights.UID), int(d.rights.GID)
	}
	return os.Geteuid(), os.Getegid()
}

// Owner returns the user that d belongs to.
func (d *Dir) Owner() (uid uint32, err error) {
	stat, err := d.Stat(".")
	return stat.Uid, err
}

// Names lists what is in d, in no order.
func (d *Dir) Names() ([]string, error) {
	// A descriptor of its own, with a position of its own.
	f, err := d.OpenFile(".", os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Sync makes the names in d survive a crash.
func (d *Dir) Sync() error { return d.file.Sync() }

// File is the open directory, which stays d's.
func (d *Dir) File() *os.File { return d.file }

// Path is the path of something in d, as far as is known: for messages only.
func (d *Dir) Path(name string) string { return filepath.Join(d.file.Name(), name) }

// Close closes the descriptor.
func (d *Dir) Close() error { return d.file.Close() }

func (d *Dir) fd() int { return int(d.file.Fd()) }

func (d *Dir) error(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: d.Path(name), Err: err}
}

// checkName refuses what openat2 would, for the calls that have no such flags.
func checkName(name string) error {
	if name == "" || name == ".." || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not the name of something in a directory", name)
	}
	return nil
}

// open opens something with the rights that d has.
func (d *Dir) open(call func() (int, error)) (fd int, err error) {
	err = d.rights.run(func() (err error) {
		fd, err = retry(call)
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
