package main

import (
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
