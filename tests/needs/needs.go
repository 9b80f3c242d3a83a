// Package needs is the one way in which a test says that it needs root, a
// program or a file of the machine.
//
// Under "make quick", which needs neither root nor tools and sets IMPORTD_QUICK,
// such a test does not run. Everywhere else a need that is not met fails the
// test and says what to install.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// packages holds the Debian packages whose names differ from their programs'.
var packages = map[string]string{
	"dbus-daemon": "dbus", "busctl": "systemd", "mkfifo": "coreutils",
	"setfattr": "attr", "getfattr": "attr", "setfacl": "acl", "getfacl": "acl",
	"mksquashfs": "squashfs-tools", "sqfstar": "squashfs-tools", "unsquashfs": "squashfs-tools",
	"mkfs.erofs": "erofs-utils", "dump.erofs": "erofs-utils", "mkfs.ext4": "e2fsprogs",
	"xz": "xz-utils", "setpriv": "util-linux", "mount": "util-linux", "rpmbuild": "rpm", "gdbus-codegen": "libglib2.0-dev-bin",
	"cc": "build-essential", "pgrep": "procps",
}

// Root says that the test needs root.
func Root(t testing.TB) {
	t.Helper()
	notQuick(t, "root")
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root; without it run make quick")
	}
}

// Tool says that the test needs a program, and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	notQuick(t, name)
	path, err := exec.LookPath(name)
	if err != nil {
		pkg := packages[name]
		if pkg == "" {
			pkg = name
		}
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	return path
}

// File says that the test needs a file that a Debian package brings.
func File(t testing.TB, path, pkg string) {
	t.Helper()
	notQuick(t, path)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
}

// Capable says that the test needs something else of the machine that "make quick" does not count
// on, such as a file system with extended attributes.
func Capable(t testing.TB, what string) {
	t.Helper()
	notQuick(t, what)
}

// notQuick ends the test under "make quick".
func notQuick(t testing.TB, need string) {
	t.Helper()
	if os.Getenv("IMPORTD_QUICK") != "" {
		t.Skipf("make quick runs no test that needs %s", need)
	}
}
