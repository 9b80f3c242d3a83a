package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestMakeWritable(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	mount := func(source string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, dir, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	mount(dir, unix.MS_BIND)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	mount("", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOATIME)
	if err := unix.Access(dir, unix.W_OK); err != unix.EROFS {
		t.Fatalf("a read-only mount: %v, want EROFS", err)
	}

	for range 2 {
		if err := makeWritable(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	if kept := int64(unix.ST_NODEV | unix.ST_NOATIME); stat.Flags&kept != kept {
		t.Errorf("mount flags %#x: nodev and noatime got lost", stat.Flags)
	}
}

func TestMakeWritableWithoutSysroot(t *testing.T) {
	if err := makeWritable(filepath.Join(t.TempDir(), "sysroot")); err != nil {
		t.Error(err)
	}
}

// TestLetWrite has a read-only view of a directory, as the daemon's mount namespace has of what was
// not there when it was made.
func TestLetWrite(t *testing.T) {
	needs.Root(t)
	for _, test := range []struct {
		name     string
		there    string // what there is before
		missing  bool
		writable bool
	}{
		{"nothing is there and nothing to be made", ".", false, false},
		{"nothing is there", ".", true, true},
		{"the directory above is there", "ostree", true, true},
		{"the directory is there", "ostree/repo", true, true},
		{"the repository has appeared", "ostree/repo", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			host, view := t.TempDir(), t.TempDir()
			if err := os.MkdirAll(filepath.Join(host, test.there), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(
				unix.Mount(host, view, "", unix.MS_BIND, ""), unix.Mount("", view, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
			); err != nil {
				t.Fatal(err)
			}
			repository := filepath.Join(view, "ostree/repo")
			t.Cleanup(func() {
				_ = unix.Unmount(repository, unix.MNT_DETACH) // a mount only where it has become writable
				if err := unix.Unmount(view, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			for range 2 {
				if err := letWrite(repository, test.missing); err != nil {
					t.Fatal(err)
				}
			}
			err := os.WriteFile(filepath.Join(repository, "config"), nil, 0o644)
			if (err == nil) != test.writable {
				t.Errorf("writing to the repository: %v", err)
			}
			if _, err := os.Stat(filepath.Join(host, "ostree/repo/config")); (err == nil) != test.writable {
				t.Errorf("on the host: %v", err)
			}
			if err := os.WriteFile(filepath.Join(view, "other"), nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing beside it: %v, want EROFS", err)
			}
		})
	}
}

// TestLetWriteToAnOrdinaryDirectory: nothing is mounted, and nothing made, where everybody can make
// it.
func TestLetWriteToAnOrdinaryDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := letWrite(filepath.Join(dir, "ostree/repo"), true); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it has made %v, %v", entries, err)
	}
}
