// Package tempdir makes private temporary directories that the next process removes if their own
// process is killed.
//
// A directory holds the file "lock", which its process keeps locked with flock(2). The lock is the
// only thing that tells a dead directory from a living one: the age says nothing, and the number
// of a dead process may belong to another one.
//
//	New    mkdir → create lock → flock → the lock still has a name? else start again
//	Close  remove everything else → remove lock → rmdir → unlock
//	Sweep  no lock, and empty       rmdir, which fails as soon as New has created the lock
//	       no lock, and not empty   earlier versions left this: remove
//	       lock is held             leave
//	       lock is free             take it, remove everything as Close does
//
// New starts again when a Sweep of another process came between its steps, so no step needs a lock
// of all directories, which somebody else could hold.
package tempdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

const (
	// Shared is the directory for what may be large and belongs to no repository.
	Shared = "/var/tmp"
	// SharedPrefix begins the names of our directories there.
	SharedPrefix = "ostree-importd-"

	lockName = "lock"
	// attempts bounds how often New starts again. Each time a Sweep must have come between.
	attempts = 100
)

// errSwept says that another process has removed the directory before it was locked.
var errSwept = errors.New("another process removed the new directory")

// Dir is a private directory. Its methods may be called by several goroutines, except Close, which
// comes last.
type Dir struct {
	path string
	lock *os.File
}

// New makes a directory in the directory parent. Its name begins with prefix, and only the caller's
// user may enter it. The caller must Close it. Errors are those of the file system.
func New(parent, prefix string) (*Dir, error) {
	for attempt := 1; ; attempt++ {
		d, err := try(parent, prefix)
		if err == nil || !errors.Is(err, errSwept) || attempt == attempts {
			return d, err
		}
	}
}

func try(parent, prefix string) (*Dir, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	crashpoint.Pass("tempdir made")
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errSwept
	}
	if err == nil {
		d := &Dir{path: path, lock: lock}
		if err = d.take(); err == nil {
			crashpoint.Pass("tempdir locked")
			return d, nil
		}
		lock.Close()
	}
	if !errors.Is(err, errSwept) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return nil, err
}

// take locks the directory.
func (d *Dir) take() error {
	err := flock(d.lock)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errSwept
	}
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(d.lock.Fd()), &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: d.lock.Name(), Err: err}
	}
	if stat.Nlink == 0 {
		return errSwept
	}
	return nil
}

// Path returns the path of name in the directory, or of the directory itself if name is empty. The
// name "lock" is taken.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Share lets every user pass through the directory to what the caller makes in it. They can
// neither list it nor open its lock.
func (d *Dir) Share() error { return os.Chmod(d.path, 0o711) }

// Close deletes the directory. Only the first call does anything.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.remove()
	// Last: until then no Sweep looks at the directory.
	err = errors.Join(err, d.lock.Close())
	d.lock = nil
	if err != nil {
		return fmt.Errorf("delete %s: %w", d.path, err)
	}
	return nil
}

func (d *Dir) remove() error {
	parent, err := os.OpenRoot(filepath.Dir(d.path))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(d.path)
	dir, err := openDir(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return removeAll(context.Background(), parent, dir, name)
}

// flock takes the lock of f without waiting.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
