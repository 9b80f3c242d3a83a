package ostreerepo_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// lock takes a lock that nothing stands in the way of.
func lock(t *testing.T, repo *ostreerepo.Repo, exclusive bool) io.Closer {
	t.Helper()
	l, err := repo.Lock(t.Context(), exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// isFree tells whether nobody holds a lock.
func isFree(t *testing.T, repo *ostreerepo.Repo) bool {
	t.Helper()
	l, err := repo.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	if l == nil {
		return false
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	return true
}

func TestLock(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	first, second := lock(t, repo, false), lock(t, repo, false)
	for _, l := range []io.Closer{first, second} {
		if isFree(t, repo) {
			t.Fatal("the exclusive lock is free beside a shared one")
		}
		l.Close()
	}
	if !isFree(t, repo) {
		t.Error("the lock is held after its end")
	}
	exclusive := lock(t, repo, true)
	ended, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the reason")
	cancel(reason)
	for _, kind := range []bool{false, true} {
		if _, err := repo.Lock(ended, kind, nil); !errors.Is(err, reason) {
			t.Errorf("exclusive %v: %v", kind, err)
		}
	}
	exclusive.Close()
	exclusive.Close()
	lock(t, repo, false).Close()
	info, err := os.Stat(filepath.Join(repo.Path(), ".ostree-importd.lock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock's file has mode %v (%v): others can hold it", info.Mode(), err)
	}
}

// TestLockWaits has a holder of the exclusive lock wait for one of a shared lock, and later ones
// behind it.
func TestLockWaits(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	shared := lock(t, repo, false)
	var turn atomic.Int32
	exclusive := make(chan int32, 1)
	go func() {
		l, err := repo.Lock(t.Context(), true, nil)
		if err != nil {
			t.Error(err)
		} else {
			defer l.Close()
		}
		exclusive <- turn.Add(1)
	}()
	// Once the gate is closed nobody else gets a shared lock.
	deadline := time.Now().Add(time.Minute)
	for {
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		l, err := repo.Lock(soon, false, nil)
		cancel()
		if err != nil {
			break
		}
		l.Close()
		if time.Now().After(deadline) {
			t.Fatal("shared locks are given past the one who waits for the exclusive lock")
		}
	}
	later := make(chan int32, 1)
	go func() {
		l, err := repo.Lock(t.Context(), false, nil)
		if err != nil {
			t.Error(err)
		} else {
			defer l.Close()
		}
		later <- turn.Add(1)
	}()
	shared.Close()
	if got := <-exclusive; got != 1 {
		t.Errorf("the exclusive lock came at turn %d", got)
	}
	if got := <-later; got != 2 {
		t.Errorf("the shared lock came at turn %d", got)
	}
}

// TestLockLetsOthersPass: who waits for the exclusive lock, for as long as a shared one is held,
// keeps others from working for half a minute at most, and then has its turn again.
func TestLockLetsOthersPass(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	shared := lock(t, repo, false)
	synctest.Test(t, func(t *testing.T) {
		tryShared := func() error {
			soon, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			l, err := repo.Lock(soon, false, nil)
			if err == nil {
				l.Close()
			}
			return err
		}
		told := 0
		exclusive := make(chan io.Closer)
		go func() {
			l, err := repo.Lock(t.Context(), true, func() { told++ })
			if err != nil {
				t.Error(err)
			}
			exclusive <- l
		}()
		for minute := range 2 {
			time.Sleep(15 * time.Second)
			if tryShared() == nil {
				t.Errorf("minute %d: a shared lock was given past the one who waits", minute)
			}
			time.Sleep(30 * time.Second)
			if err := tryShared(); err != nil {
				t.Errorf("minute %d: nobody else can work: %v", minute, err)
			}
			time.Sleep(14 * time.Second)
		}
		shared.Close()
		(<-exclusive).Close()
		if told != 1 {
			t.Errorf("the one who waits was told %d times", told)
		}
	})
}
