package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// stagingPrefix begins the names of our directories in the repository's tmp/. libostree deletes "staging-*" there.
	stagingPrefix = "importd-"
	// unlockedPrefix stands before that until the directory is locked. libostree deletes what a crash leaves of it after a day.
	unlockedPrefix = "new-"
	// lockName is the file in a staging directory whose flock says that its process lives.
	lockName = "lock"
)

// Staging is a private repository inside a repository's tmp/, in which objects are written and refs are set before they all
// land in the repository. Its methods may be called at the same time by several goroutines, except Close, which comes last.
// After a failed write a staging may lack an object that others refer to: Close it then, and begin another.
type Staging struct {
	repo    *Repo
	path    string
	layout  layout
	lock    *os.File
	objects int // descriptor of the directory objects
	landed  int // descriptor of the repository's directory objects
	fanout  [256]atomic.Bool
	serial  atomic.Uint64 // for names of temporary files
	refsMu  sync.Mutex
	refs    map[string]objects.Checksum

	stopFresh func()
	closing   sync.Once
	closeErr  error
}

// unsupportedMode is about a repository whose content objects can't be read or written.
func unsupportedMode(mode Mode) error {
	return fmt.Errorf("repositories of mode %s are not supported: use one of mode %s, %s or %s", mode, ModeBare, ModeBareUser, ModeArchive)
}

// NewStaging makes a staging, and deletes those that processes left behind which live no more. Errors: ErrNoSpace,
// ErrReadOnly. The caller must Close it.
func (r *Repo) NewStaging() (*Staging, error) {
	s, err := r.newStaging()
	if err != nil {
		return nil, fmt.Errorf("staging: %w", withCause(err))
	}
	return s, nil
}

func (r *Repo) newStaging() (*Staging, error) {
	layout, err := layoutOf(r.config.mode)
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(r.path, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, err
	}
	r.removeDead(r.lockDead(tmp))
	s := &Staging{repo: r, layout: layout, objects: -1, landed: -1, refs: make(map[string]objects.Checksum)}
	if err := s.create(tmp); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.stopFresh = keepFresh(s.path, r.freshInterval(), func(err error) {
		r.log.WithError(err).WithField("path", s.path).Warn("cannot keep the staging directory fresh: ostree may delete it")
	})
	return s, nil
}

// create makes and locks the directory. What it has made when it fails is left for Close.
//
// Under its own name the directory appears with its lock held, so that it is never taken for a dead one. No lock of all stagings
// is needed, which would have to be on something that others can open, and so hold.
func (s *Staging) create(tmp string) error {
	var err error
	if s.path, err = os.MkdirTemp(tmp, unlockedPrefix+stagingPrefix); err != nil {
		return err
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	if err := flock(s.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	locked := filepath.Join(tmp, strings.TrimPrefix(filepath.Base(s.path), unlockedPrefix))
	if err := os.Rename(s.path, locked); err != nil {
		return err
	}
	s.path = locked
	for _, dir := range []string{"objects", "refs", "refs/heads", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.path, dir), 0o755); err != nil {
			return err
		}
	}
	config := fmt.Sprintf("[core]\nrepo_version=1\nmode=%s\n", s.repo.config.mode)
	if err := os.WriteFile(filepath.Join(s.path, "config"), []byte(config), 0o644); err != nil {
		return err
	}
	if s.objects, err = openDir(filepath.Join(s.path, "objects")); err != nil {
		return err
	}
	s.landed, err = openDir(filepath.Join(s.repo.path, "objects"))
	return err
}

// Close deletes the staging. Only the first call does anything; all return its error.
func (s *Staging) Close() error {
	s.closing.Do(func() {
		if s.stopFresh != nil {
			s.stopFresh()
		}
		for _, fd := range []int{s.objects, s.landed} {
			if fd >= 0 {
				unix.Close(fd) // opened for look-ups only: nothing can be lost
			}
		}
		// The lock goes last: until then nobody else deletes.
		if s.path != "" {
			s.closeErr = os.RemoveAll(s.path)
		}
		if s.lock != nil {
			s.closeErr = errors.Join(s.closeErr, s.lock.Close())
		}
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("close staging: %w", withCause(s.closeErr))
		}
	})
	return s.closeErr
}

// deadStaging is the directory of a process that lives no more. lock, if not nil, keeps others from deleting it too.
type deadStaging struct {
	path string
	lock *os.File
}

// lockDead finds the dead stagings in tmp.
func (r *Repo) lockDead(tmp string) []deadStaging {
	paths, err := filepath.Glob(escapeGlob(tmp) + "/" + stagingPrefix + "*")
	if err != nil {
		return nil
	}
	var dead []deadStaging
	for _, path := range paths {
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Its process was deleting it, and may still be.
			dead = append(dead, deadStaging{path: path})
		case err != nil:
			r.log.WithError(err).WithField("path", path).Warn("cannot tell whether the process of a staging directory lives")
		case flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil:
			lock.Close() // it lives
		default:
			dead = append(dead, deadStaging{path: path, lock: lock})
		}
	}
	return dead
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// removeDead deletes what lockDead found. That it can't be done must not stop the work at hand.
func (r *Repo) removeDead(dead []deadStaging) {
	for _, d := range dead {
		log := r.log.WithField("path", d.path)
		if err := os.RemoveAll(d.path); err != nil {
			log.WithError(err).Warn("cannot delete the staging directory of a process that lives no more")
		} else {
			log.Info("deleted the staging directory of a process that lives no more")
		}
		if d.lock != nil {
			d.lock.Close()
		}
	}
}

// freshInterval is how often the staging directory's time stamp must be renewed.
func (r *Repo) freshInterval() time.Duration {
	return max(time.Second, min(time.Hour, r.config.tmpExpiry/4))
}

// keepFresh sets the time stamp of path at every interval, since ostree deletes old things from tmp/, until the returned
// function is called. report is called from another goroutine, at most once.
func keepFresh(path string, interval time.Duration, report func(error)) (stop func()) {
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
		for {
			select {
			case <-stopping:
				return
			case <-ticker.C:
				if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, now, 0); err != nil {
					report(err)
					return
				}
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

// openDir opens a directory for look-ups.
func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// flock applies a flock(2) operation to f.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
