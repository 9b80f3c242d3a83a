//go:build system

package system

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A booted OSTree host mounts /sysroot read-only; programs that write to the
// repository there get a writable one in a mount namespace of their own.
func TestReadOnlySysroot(t *testing.T) {
	pushed := newSite(t).push(t, "readonly:1", noise("usr/lib/blob", 4096))
	run(t, "systemctl", "stop", unit)
	run(t, "mount", "--bind", "/sysroot", "/sysroot")
	run(t, "mount", "-o", "remount,bind,ro", "/sysroot")
	if err := os.WriteFile("/run/ostree-booted", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run(t, "systemctl", "stop", unit)
		run(t, "umount", "/sysroot")
		if err := os.Remove("/run/ostree-booted"); err != nil {
			t.Error(err)
		}
	})

	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	if err := unix.Access(physical, unix.W_OK); err != unix.EROFS {
		t.Errorf("/sysroot of the host has become writable: %v", err)
	}
}
