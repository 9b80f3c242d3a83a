package dirfd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through, as for the kernel.
const maxLinks = 40

// ErrForeignLink says that a path leads through a symbolic link of another user.
var ErrForeignLink = errors.New("a symbolic link of another user, who can have it lead elsewhere; name the place itself")

// Open opens the directory at a path, which is resolved here, once. Symbolic links are followed.
// For root they have to be root's: whoever owns one could have root write anywhere, whatever place
// was permitted. Errors: ErrForeignLink.
func Open(path string) (*Dir, error) {
	if os.Geteuid() == 0 {
		return openTrusted(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{file: f}, nil
}

// OpenFrom opens a directory that another process has opened and passed, if only as a place
// (O_PATH). All in it is read and changed with the rights of that process's user. The file stays
// the caller's.
func OpenFrom(f *os.File, rights *Rights) (*Dir, error) {
	return (&Dir{f, rights}).OpenDir(".")
}

// OpenParent opens the directory that the last element of a path is in: opened, if that is not nil,
// which stays as it is.
func OpenParent(path string, opened *Dir) (*Dir, error) {
	if opened != nil {
		return opened.OpenDir(".")
	}
	return Open(filepath.Dir(path))
}

// OpenAt opens the directory that a name in d stands for, be it by way of a symbolic link, which is
// followed as by Open; in a directory of OpenFrom it is not, since it may have been written for
// other mounts than ours. It is for the last element of a path that a person has written; use
// OpenDir for everything else.
func (d *Dir) OpenAt(name string) (*Dir, error) {
	if d.rights != nil {
		return d.OpenDir(name)
	}
	if os.Geteuid() == 0 {
		at, err := openat(d.fd(), ".", unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, d.error("open", name, err)
		}
		return (&walk{at: at, path: d.Path(name), rest: []string{name}}).open()
	}
	fd, err := openat(d.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, d.error("open", name, err)
	}
	return &Dir{file: os.NewFile(uintptr(fd), d.Path(name))}, nil
}

func openTrusted(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/", Err: err}
	}
	return (&walk{at: root, path: path, rest: strings.Split(path, "/")}).open()
}

// walk resolves a path, one element after the other, as the kernel does.
type walk struct {
	at    int    // descriptor of the directory that is reached so far
	path  string // the whole path, for messages
	rest  []string
	links int
}

// open opens what the path leads to, and ends the walk.
func (w *walk) open() (*Dir, error) {
	defer func() { unix.Close(w.at) }()
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if name == "" {
			continue
		}
		if err := w.step(name); err != nil {
			return nil, &os.PathError{Op: "open", Path: w.path, Err: err}
		}
	}
	fd, err := openat(w.at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: w.path, Err: err}
	}
	return &Dir{file: os.NewFile(uintptr(fd), w.path)}, nil
}

// step enters the directory of that name, or puts the target of the link in its place.
func (w *walk) step(name string) error {
	next, err := openat(w.at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err == unix.ENOTDIR {
		next, err = w.link(name)
	}
	if err != nil || next < 0 {
		return err
	}
	unix.Close(w.at)
	w.at = next
	return nil
}

// link follows a symbolic link. It returns the directory to go on from, -1 for the one it is in.
func (w *walk) link(name string) (int, error) {
	fd, err := openat(w.at, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return -1, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		return -1, unix.ENOTDIR
	}
	if foreign(&stat) {
		return -1, fmt.Errorf("%q is %w", name, ErrForeignLink)
	}
	if w.links++; w.links > maxLinks {
		return -1, unix.ELOOP
	}
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return -1, err
	}
	if system.Type == unix.PROC_SUPER_MAGIC { // its links lead to files, whatever their text is
		return openat(w.at, name, unix.O_PATH|unix.O_DIRECTORY)
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if err != nil {
		return -1, err
	}
	w.rest = append(strings.Split(string(target[:n]), "/"), w.rest...)
	if target[0] != '/' {
		return -1, nil
	}
	return openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
}

func openat(dir int, name string, flags int) (int, error) {
	return retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0) })
}
