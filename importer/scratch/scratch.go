// Package scratch makes private directories beside what is to be written, so that a file or
// directory can be made in peace and then take its place by a rename.
//
// A directory is called ".ostree-importd-*" and holds a locked file as long as its process lives.
// What a process that was killed leaves behind is deleted by the next one that makes a directory at
// the same place. The directory above may belong to somebody else: nothing in a private directory
// is reached by its path.
package scratch

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
)

const (
	prefix = ".ostree-importd-"
	// unlocked stands before that until the directory is locked, so that it is never taken for a
	// dead one.
	unlocked = ".new"
	// lockName is the file whose flock says that the process lives.
	lockName = "lock"
	// attempts bounds how often New starts again after the Sweep of another process.
	attempts = 20
	// private is the mode of the directories.
	private = 0o700
)

// Dir is a private directory. The name "lock" in it is taken.
type Dir struct {
	*dirfd.Dir
	parent *dirfd.Dir
	name   string
	lock   *os.File
}

// New makes a directory in parent, and deletes those there that dead processes of the same user
// left behind. It must be closed, and parent must stay open until then.
func New(parent *dirfd.Dir) (*Dir, error) {
	Sweep(parent)
	for attempt := 1; ; attempt++ {
		d, err := try(parent)
		swept := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK)
		if !swept || attempt == attempts {
			return d, err
		}
	}
}

// try makes a directory. The Sweep of another process may come between its steps.
func try(parent *dirfd.Dir) (*Dir, error) {
	name := prefix + rand.Text()
	made, err := parent.MakeDir(unlocked+name, private)
	if err != nil {
		return nil, err
	}
	d := &Dir{Dir: made, parent: parent, name: unlocked + name}
	d.lock, err = d.OpenFile(lockName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = d.checkOwner()
	}
	if err == nil {
		if err = parent.Rename(d.name, parent, name); err == nil {
			d.name = name
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// checkOwner refuses a directory of somebody else, in place of the one that was made. The lock is
// certainly ours, whatever user a network file system takes us for.
func (d *Dir) checkOwner() error {
	lock, err := d.Stat(lockName)
	if err != nil {
		return err
	}
	if owner, err := d.Owner(); err != nil || owner != lock.Uid {
		return errors.Join(errors.New("somebody has replaced the private directory; name a destination that only you can write to"), err)
	}
	return nil
}

// Is reports whether a file name is that of such a directory.
func Is(name string) bool { return strings.HasPrefix(strings.TrimPrefix(name, unlocked), prefix) }

// Close deletes the directory.
func (d *Dir) Close() error {
	err := remove(d.parent, d.name, d.Dir)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close()) // last: until then nobody else deletes
	}
	if err = errors.Join(err, d.Dir.Close()); err != nil {
		return fmt.Errorf("delete %s: %w", d.parent.Path(d.name), err)
	}
	return nil
}

// remove deletes a directory that is open. One that somebody has moved away is emptied.
func remove(parent *dirfd.Dir, name string, dir *dirfd.Dir) error {
	if err := dir.Clear(lockName); err != nil {
		return err
	}
	if !parent.Holds(name, dir) {
		return nil
	}
	if err := parent.RemoveDir(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep deletes directories of ours in parent that no process holds. It is no concern of what is to
// be written if that can't be done.
func Sweep(parent *dirfd.Dir) {
	names, err := parent.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if !Is(name) {
			continue
		}
		dir, err := parent.OpenDir(name)
		if err != nil {
			continue
		}
		stat, err := dir.Stat(".")
		if uid, _ := parent.Maker(); err == nil && int(stat.Uid) == uid && stat.Mode&0o777 == private {
			removeUnlocked(parent, name, dir)
		}
		dir.Close()
	}
}

func removeUnlocked(parent *dirfd.Dir, name string, dir *dirfd.Dir) {
	lock, err := dir.OpenFile(lockName, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// It was killed before it made the lock, or after it removed that as the last thing.
		_ = parent.RemoveDir(name)
	}
	if err != nil {
		return
	}
	if Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = remove(parent, name, dir) // what stays is found again the next time
	}
	lock.Close() // only now, so that nobody else deletes
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
