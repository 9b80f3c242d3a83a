package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

const (
	// stagingPrefix begins the names of our directories in the repository's tmp/. libostree deletes
	// "staging-*" there.
	stagingPrefix = "importd-"
	// formerPrefix began the names that earlier versions gave to directories which were not locked
	// yet.
	formerPrefix = "new-importd-"
)

// Staging is a private repository inside a repository's tmp/, in which objects are written and refs
// are set before they all land in the repository. Its methods may be called at the same time by
// several goroutines, except Close, which comes last. After a failed write a staging may lack an
// object that others refer to: Close it then, and begin another.
type Staging struct {
	repo    *Repo
	dir     *tempdir.Dir
	path    string // of dir
	layout  layout
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

// NewStaging makes a staging, after a Sweep. Errors: ErrNoSpace, ErrReadOnly. The caller must Close
// it.
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
	r.Sweep(context.Background())
	dir, err := tempdir.New(tmp, stagingPrefix)
	if err != nil {
		return nil, err
	}
	s := &Staging{
		repo: r, dir: dir, path: dir.Path(""), layout: layout, objects: -1, landed: -1, refs: make(map[string]objects.Checksum),
	}
	if err := s.create(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	crashpoint.Pass("staging made")
	s.stopFresh = keepFresh(s.path, r.freshInterval(), func(err error) {
		r.log.WithError(err).WithField("path", s.path).Warn("cannot keep the staging directory fresh: ostree may delete it")
	})
	return s, nil
}

// create makes what a repository consists of. What it has made when it fails is left for Close.
func (s *Staging) create() error {
	for _, dir := range []string{"objects", "refs", "refs/heads", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.path, dir), 0o755); err != nil {
			return err
		}
	}
	config := fmt.Sprintf("[core]\nrepo_version=1\nmode=%s\n", s.repo.config.mode)
	if err := os.WriteFile(filepath.Join(s.path, "config"), []byte(config), 0o644); err != nil {
		return err
	}
	var err error
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
		if err := s.dir.Close(); err != nil {
			s.closeErr = fmt.Errorf("close staging: %w", withCause(err))
		}
	})
	return s.closeErr
}

// Sweep deletes the stagings that dead processes have left, until ctx ends. It needs no free space.
// Errors are logged, not returned.
func (r *Repo) Sweep(ctx context.Context) {
	sweeper := tempdir.Sweeper{Prefixes: []string{stagingPrefix, formerPrefix}, Log: r.log}
	sweeper.Sweep(ctx, filepath.Join(r.path, "tmp"))
}

// freshInterval is how often the staging directory's time stamp must be renewed.
func (r *Repo) freshInterval() time.Duration {
	return max(time.Second, min(time.Hour, r.config.tmpExpiry/4))
}

// keepFresh sets the time stamp of path at every interval, since ostree deletes old things from
// tmp/, until the returned function is called. report is called from another goroutine, at most
// once.
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
