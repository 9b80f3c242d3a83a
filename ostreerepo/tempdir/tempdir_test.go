package tempdir_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

const prefix = "ours-"

func sweeper(t *testing.T, owners ...int) tempdir.Sweeper {
	log := logrus.New()
	log.SetOutput(t.Output())
	return tempdir.Sweeper{Prefixes: []string{prefix, "former-" + prefix}, Owners: owners, Log: log}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeDir makes a directory with a lock that nobody holds, unless locked is false, and something in
// it.
func makeDir(t *testing.T, path string, locked bool) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(path, "deep/er"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "deep/file"), []byte("content"), 0o600))
	if locked {
		must(t, os.WriteFile(filepath.Join(path, "lock"), nil, 0o600))
	}
}

func TestSweep(t *testing.T) {
	dead := func(t *testing.T, path string) { makeDir(t, path, true) }
	former := func(t *testing.T, path string) { makeDir(t, path, false) }
	empty := func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }
	file := func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }
	fifo := func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }
	for _, test := range []struct {
		name, dir string
		make      func(t *testing.T, path string)
		stays     bool
	}{
		{"dead", prefix + "1", dead, false},
		{"dead, of another prefix", "former-" + prefix + "1", dead, false},
		{"not locked yet", prefix + "1", empty, false},
		{"of a version without locks", prefix + "1", former, false},
		{"somebody else's name", "theirs-1", dead, true},
		{"a file", prefix + "1", file, true},
		{"a fifo", prefix + "1", fifo, true},
		{"a lock that is a fifo", prefix + "1", func(t *testing.T, path string) {
			makeDir(t, path, false)
			must(t, unix.Mkfifo(filepath.Join(path, "lock"), 0o600))
		}, false},
		{"locked", prefix + "1", func(t *testing.T, path string) {
			makeDir(t, path, true)
			f, err := os.Open(filepath.Join(path, "lock"))
			must(t, err)
			t.Cleanup(func() { f.Close() })
			must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			parent := t.TempDir()
			path := filepath.Join(parent, test.dir)
			test.make(t, path)
			sweeper(t).Sweep(t.Context(), parent)
			if _, err := os.Lstat(path); (err == nil) != test.stays {
				t.Errorf("it stays: %t, want %t", err == nil, test.stays)
			}
		})
	}
}

// TestSweepFollowsNoLink: who may make names beside our directories must not have others' things
// deleted.
func TestSweepFollowsNoLink(t *testing.T) {
	parent, outside := t.TempDir(), t.TempDir()
	makeDir(t, filepath.Join(outside, "dir"), true)
	makeDir(t, filepath.Join(parent, "theirs"), true)
	must(t, os.Symlink(filepath.Join(outside, "dir"), filepath.Join(parent, prefix+"absolute")))
	must(t, os.Symlink("theirs", filepath.Join(parent, prefix+"relative")))
	makeDir(t, filepath.Join(parent, prefix+"dead"), true)
	must(t, os.Symlink(filepath.Join(outside, "dir"), filepath.Join(parent, prefix+"dead/link")))
	must(t, os.Symlink("../theirs", filepath.Join(parent, prefix+"dead/deep/link")))
	sweeper(t).Sweep(t.Context(), parent)
	for _, path := range []string{filepath.Join(outside, "dir"), filepath.Join(parent, "theirs")} {
		if _, err := os.Stat(filepath.Join(path, "deep/file")); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(parent, prefix+"dead")); err == nil {
		t.Error("the dead directory stays")
	}
}

func TestSweepLooksAtTheOwner(t *testing.T) {
	needs.Root(t)
	const proxy, other = 12345, 12346
	parent := t.TempDir()
	for name, owner := range map[string]int{"proxy": proxy, "other": other, "mine": 0} {
		makeDir(t, filepath.Join(parent, prefix+name), false)
		must(t, os.Chown(filepath.Join(parent, prefix+name), owner, owner))
	}
	sweeper(t, proxy).Sweep(t.Context(), parent)
	entries, err := os.ReadDir(parent)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != prefix+"other" {
		t.Errorf("left are %v, want only %sother", entries, prefix)
	}
}

// TestNewBesideSweeps: a directory that is being made is never taken for a dead one.
func TestNewBesideSweeps(t *testing.T) {
	parent := t.TempDir()
	stop := make(chan struct{})
	var sweeping, working sync.WaitGroup
	quiet := sweeper(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	quiet.Log = log // two sweeps may get in each other's way
	for range 2 {
		sweeping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					quiet.Sweep(t.Context(), parent)
				}
			}
		})
	}
	for range 4 {
		working.Go(func() {
			for range 200 {
				d, err := tempdir.New(parent, prefix)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(d.Path("file"), []byte("content"), 0o600); err != nil {
					t.Error(err)
				}
				if content, err := os.ReadFile(d.Path("file")); err != nil || string(content) != "content" {
					t.Errorf("%q, %v", content, err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	close(stop)
	sweeping.Wait()
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestDir(t *testing.T) {
	parent := t.TempDir()
	d, err := tempdir.New(parent, prefix)
	must(t, err)
	mode := func() os.FileMode {
		info, err := os.Stat(d.Path(""))
		must(t, err)
		return info.Mode().Perm()
	}
	if mode() != 0o700 {
		t.Errorf("the mode is %o", mode())
	}
	must(t, d.Share())
	if mode() != 0o711 {
		t.Errorf("the mode is %o", mode())
	}
	makeDir(t, d.Path("below"), false)
	must(t, d.Close())
	must(t, d.Close())
	if left, err := filepath.Glob(parent + "/*"); err != nil || !slices.Equal(left, nil) {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := tempdir.New(filepath.Join(parent, "missing"), prefix); err == nil {
		t.Error("a missing parent is no error")
	}
}
