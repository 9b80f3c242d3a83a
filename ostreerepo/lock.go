package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// workLock is the file in the repository's directory that Lock locks. Only the repository's owner
// may open it, so nobody else can hold it.
const workLock = ".ostree-importd.lock"

// Bytes of that file, which stand for one lock each.
const (
	gateByte = iota // held by who waits for the exclusive lock, so that those who come later wait behind
	workByte
)

const (
	// gateHold is how long those who come later wait behind who waits for the exclusive lock.
	gateHold = 30 * time.Second
	// gateRest is how long they then go ahead. Shared work can take as long as a registry likes.
	gateRest = 30 * time.Second
)

// lockPoll is how often a lock that others hold is tried again.
const lockPoll = 50 * time.Millisecond

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("another process works on the repository")

// Lock takes the lock that the users of this package agree on, in one process or in several: shared
// by work whose refs and objects belong together only at its end, exclusive for deleting what
// nothing needs. It waits, after a call of waiting, which may be nil. Those who come later wait
// behind who waits for the exclusive lock, for half of the time: neither keeps the other from
// working for ever. ostree's own commands don't know the lock. It is released by Close, or by the
// end of the process. On a read-only file system, where nobody can delete anything, the shared one
// is not needed, and is nothing. Errors: that of ctx, ErrReadOnly.
func (r *Repo) Lock(ctx context.Context, exclusive bool, waiting func()) (io.Closer, error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	l, err := r.openLock()
	if errors.Is(err, unix.EROFS) && !exclusive {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", withCause(err))
	}
	began := time.Now()
	for first := true; ; first = false {
		err := l.take(exclusive)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, errLocked) {
			l.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
		if first && waiting != nil {
			waiting()
		}
		if exclusive && time.Since(began)%(gateHold+gateRest) >= gateHold {
			if open := l.openGate(); open != nil {
				l.Close()
				return nil, fmt.Errorf("lock: %w", open)
			}
		}
		select {
		case <-ctx.Done():
			l.Close()
			return nil, fmt.Errorf("lock: waiting for another process that works on the repository: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// TryLock takes the exclusive lock if nobody holds any; else it gives nil. The error is as for
// Lock.
func (r *Repo) TryLock() (io.Closer, error) {
	l, err := r.openLock()
	if err != nil {
		return nil, fmt.Errorf("lock: %w", withCause(err))
	}
	err = l.take(true)
	if err == nil {
		return l, nil
	}
	l.Close()
	if errors.Is(err, errLocked) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock: %w", err)
}

// lockFile holds locks of its own open file description.
type lockFile struct {
	file    *os.File
	gate    bool // the gate is held
	closing sync.Once
	err     error
}

func (r *Repo) openLock() (*lockFile, error) {
	file, err := os.OpenFile(filepath.Join(r.path, workLock), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return &lockFile{file: file}, nil
}

// take takes the lock without waiting. The exclusive one is taken in two steps, the first of which
// stays taken.
func (l *lockFile) take(exclusive bool) error {
	if !l.gate {
		if err := l.set(gateByte, lockType(exclusive)); err != nil {
			return err
		}
		l.gate = exclusive
	}
	err := l.set(workByte, lockType(exclusive))
	if !exclusive {
		if open := l.openGate(); open != nil {
			return open
		}
	}
	return err
}

// openGate lets others pass.
func (l *lockFile) openGate() error {
	l.gate = false
	return l.set(gateByte, unix.F_UNLCK)
}

func lockType(exclusive bool) int16 {
	if exclusive {
		return unix.F_WRLCK
	}
	return unix.F_RDLCK
}

func (l *lockFile) set(position int64, how int16) error {
	for {
		err := unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: how, Start: position, Len: 1})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
			return errLocked
		case !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: "lock", Path: l.file.Name(), Err: err}
		}
	}
}

// Close releases the lock. It may be called more than once.
func (l *lockFile) Close() error {
	l.closing.Do(func() { l.err = l.file.Close() })
	return l.err
}
