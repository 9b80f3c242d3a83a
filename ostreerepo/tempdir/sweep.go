package tempdir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// Sweeper removes the directories of dead processes.
type Sweeper struct {
	// Prefixes begin the names of the directories to look at.
	Prefixes []string
	// Owners are the users whose directories are looked at, besides the caller's own. Earlier
	// versions gave theirs to the image proxy's user.
	Owners []int
	// Log gets what was removed, and what could not be. It must not be nil.
	Log logrus.FieldLogger
}

// Sweep removes the dead directories in parent, until ctx ends. It needs no free space, touches
// nothing that belongs to another user, and follows no symbolic link. Errors are logged, not
// returned: leftovers must not keep new work from its start. A read-only file system, and a parent
// that does not exist, are not worth a message.
func (s Sweeper) Sweep(ctx context.Context, parent string) {
	root, err := os.OpenRoot(parent)
	if err != nil {
		s.report(parent, err)
		return
	}
	defer root.Close()
	names, err := names(root)
	if err != nil {
		s.report(parent, err)
		return
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		matches := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !slices.ContainsFunc(s.Prefixes, matches) {
			continue
		}
		path := filepath.Join(parent, name)
		removed, err := s.one(ctx, root, name)
		if err != nil {
			s.report(path, err)
		} else if removed {
			s.Log.WithField("path", path).Info("deleted the temporary directory of a dead process")
		}
	}
}

func (s Sweeper) report(path string, err error) {
	for _, silent := range []error{unix.EROFS, fs.ErrNotExist, context.Canceled} {
		if errors.Is(err, silent) {
			return
		}
	}
	log := s.Log.WithError(err).WithField("path", path)
	log.Warn("cannot delete temporary directories of dead processes")
}

// one removes the directory if it is dead.
func (s Sweeper) one(ctx context.Context, parent *os.Root, name string) (removed bool, err error) {
	dir, err := openDir(parent, name)
	if errors.Is(err, errNotDir) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	ours, err := s.owns(dir)
	if err != nil || !ours {
		return false, err
	}
	lock, err := dir.OpenFile(lockName, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return removeUnlocked(ctx, parent, dir, name)
	}
	if err != nil {
		return false, err
	}
	defer lock.Close() // after the removal, so that nobody else removes
	err = flock(lock)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil // its process lives
	}
	if err != nil {
		return false, err
	}
	return true, removeAll(ctx, parent, dir, name)
}

// owns tells whether a directory belongs to us.
func (s Sweeper) owns(dir *os.Root) (bool, error) {
	info, err := dir.Stat(".")
	if err != nil {
		return false, err
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	return owner == os.Geteuid() || slices.Contains(s.Owners, owner), nil
}

// removeUnlocked removes a directory without a lock. The process of an empty one may be about to
// make the lock, and then finds that it must start again.
func removeUnlocked(
	ctx context.Context, parent, dir *os.Root, name string,
) (removed bool, err error) {
	err = parent.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, nil
	}
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return false, err
	}
	entries, err := names(dir)
	if err != nil || slices.Contains(entries, lockName) { // made just now
		return false, err
	}
	return true, removeAll(ctx, parent, dir, name)
}

// errNotDir says that a name is not that of a directory.
var errNotDir = errors.New("not a directory")

// openDir opens the directory name of parent, which is no symbolic link to one.
func openDir(parent *os.Root, name string) (*os.Root, error) {
	info, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errNotDir
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := dir.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = errNotDir // it was replaced meanwhile
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// removeAll removes what is in dir, its lock last, and then the directory itself, which has
// that name in parent. What is left when ctx ends still looks dead.
func removeAll(ctx context.Context, parent, dir *os.Root, name string) error {
	entries, err := names(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if entry == lockName {
			continue
		}
		if err := dir.RemoveAll(entry); err != nil {
			return err
		}
	}
	crashpoint.Pass("tempdir emptied")
	if err := dir.RemoveAll(lockName); err != nil {
		return err
	}
	crashpoint.Pass("tempdir unlocked")
	if err := parent.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// names lists the names in a directory.
func names(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
