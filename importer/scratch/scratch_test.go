package scratch_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *dirfd.Dir {
	t.Helper()
	dir, err := dirfd.Open(path)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	return dir
}

// TestSweep: whatever step a process was killed at, nothing of its directory stays.
func TestSweep(t *testing.T) {
	const made, locked = ".new.ostree-importd-A", ".ostree-importd-A"
	for name, names := range map[string][]string{
		"before the lock":           {made},
		"before its name":           {made, made + "/lock"},
		"at work":                   {locked, locked + "/lock", locked + "/file"},
		"at the end of the removal": {locked},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			must(t, os.Mkdir(filepath.Join(path, names[0]), 0o700))
			for _, file := range names[1:] {
				must(t, os.WriteFile(filepath.Join(path, file), nil, 0o600))
			}
			parent := open(t, path)
			alive, err := scratch.New(parent)
			must(t, err)
			if left, err := parent.Names(); err != nil || len(left) != 1 {
				t.Errorf("left are %q, %v; want the one that is alive", left, err)
			}
			scratch.Sweep(parent)
			must(t, alive.Close())
			if left, err := parent.Names(); err != nil || len(left) != 0 {
				t.Errorf("left are %q, %v", left, err)
			}
		})
	}
}

// TestNewBesideSweeps: a directory that is being made is never taken for a dead one.
func TestNewBesideSweeps(t *testing.T) {
	parent := open(t, t.TempDir())
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for range 100 {
				d, err := scratch.New(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := d.Stat("lock"); err != nil {
					t.Error(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	if left, err := parent.Names(); err != nil || len(left) != 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}
