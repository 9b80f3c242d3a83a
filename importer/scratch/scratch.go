// Package scratch makes private directories beside what is to be written, so that a file or directory can be made in peace and then
// take its place by a rename.
//
// A directory is called ".ostree-importd-*" and holds a locked file as long as its process lives. What a process that was killed leaves
// behind is deleted by the next one that makes a directory at the same place.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	prefix = ".ostree-importd-"
	// unlocked stands before that until the directory is locked, so that it is never taken for a dead one.
	unlocked = ".new"
	// lockName is the file whose flock says that the process lives.
	lockName = "lock"
)

// Dir is a private directory.
type Dir struct {
	path string
	lock *os.File
}

// New makes a directory in the directory parent, and deletes those there that dead processes of the same user left behind. It must be
// closed.
func New(parent string) (*Dir, error) {
	removeDead(parent)
	path, err := os.MkdirTemp(parent, unlocked+prefix)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	d.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		locked := filepath.Join(parent, strings.TrimPrefix(filepath.Base(path), unlocked))
		if err = os.Rename(path, locked); err == nil {
			d.path = locked
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Is reports whether a file name is that of such a directory.
func Is(name string) bool { return strings.HasPrefix(strings.TrimPrefix(name, unlocked), prefix) }

// Path gives the path of something in the directory. The name "lock" is taken.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Close deletes the directory.
func (d *Dir) Close() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close()) // last: until then nobody else deletes
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", d.path, err)
	}
	return nil
}

// removeDead deletes directories of ours that no process holds. It is no concern of what is to be written if that can't be done.
func removeDead(parent string) {
	found, err := filepath.Glob(filepath.Join(escapeGlob(parent), prefix+"*"))
	if err != nil {
		return
	}
	for _, path := range found {
		var stat unix.Stat_t
		if unix.Lstat(path, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR || int(stat.Uid) != os.Geteuid() {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(path) // what stays is found again the next time
		}
		lock.Close() // only now, so that nobody else deletes
	}
}

// escapeGlob makes filepath.Glob take a path as it is.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Flock applies a flock(2) operation to f, again when a signal has interrupted it.
func Flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			return err
		}
	}
}

// SyncDir makes the names in a directory survive a crash.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
