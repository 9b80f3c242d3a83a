package dirfd_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestLinksOnThePath compares what paths lead to with what they lead to for the kernel.
func TestLinksOnThePath(t *testing.T) {
	needs.Root(t)
	const user = 1000
	base := t.TempDir()
	must(t, os.MkdirAll(base+"/a/b/c", 0o755))
	must(t, os.WriteFile(base+"/a/file", nil, 0o644))
	links := map[string]struct {
		target string
		owner  int
	}{
		"root":     {"a", 0},
		"absolute": {base + "/a/./b/", 0},
		"up":       {"a/b/../b", 0},
		"a/b/up":   {"../../root", 0},
		"a/b/top":  {"/../.." + base, 0},
		"chain":    {"root/b/up/b", 0},
		"loop":     {"loop", 0},
		"file":     {"a/file", 0},
		"dangling": {"nowhere", 0},
		"foreign":  {"a", user},
		"through":  {"foreign/b", 0},
		"a/user":   {base + "/a/b", user},
		"theirs":   {"root", user},
	}
	for name, link := range links {
		must(t, os.Symlink(link.target, base+"/"+name))
		must(t, os.Lchown(base+"/"+name, link.owner, link.owner))
	}
	must(t, os.Chown(base+"/a", user, user)) // a directory of a user's is no link
	held, err := os.Open(base + "/a")
	must(t, err)
	defer held.Close()
	for path, foreign := range map[string]bool{
		"": false, "a": false, "a/b/c": false, "root/b/c": false, "absolute/c": false, "up/c": false, "a/b/up/b": false,
		"a/b/top/a": false, "chain/c": false, "loop": false, "loop/x": false, "file": false, "file/x": false,
		"a/file/x": false, "dangling": false, "dangling/x": false, "missing/x": false,
		"foreign": true, "foreign/b": true, "through": true, "through/c": true, "a/user/c": true, "root/user": true,
		"theirs/b": true, "a/b/up/user": true,
	} {
		path = base + "/" + path
		want, wantErr := os.Stat(path)
		if wantErr == nil && !want.IsDir() {
			wantErr = unix.ENOTDIR
		}
		d, err := dirfd.Open(path)
		if foreign {
			if !errors.Is(err, dirfd.ErrForeignLink) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %v, the kernel says %v", path, err, wantErr)
		}
		if err == nil {
			got, statErr := d.File().Stat()
			must(t, errors.Join(statErr, d.Close()))
			if !os.SameFile(got, want) {
				t.Errorf("%s is %v", path, got)
			}
		}
	}
	// A path to a descriptor leads to the open directory, also when it has another name by now.
	must(t, os.Rename(base+"/a", base+"/renamed"))
	d := open(t, fmt.Sprintf("/proc/self/fd/%d/b", held.Fd()))
	if _, err := d.Stat("c"); err != nil {
		t.Error(err)
	}
}

// TestLastElement is about the directory that a name stands for.
func TestLastElement(t *testing.T) {
	needs.Root(t)
	base := t.TempDir()
	must(t, os.MkdirAll(base+"/a/b", 0o755))
	must(t, os.Symlink("a/b", base+"/root"))
	must(t, os.Symlink("a/b", base+"/user"))
	must(t, os.Lchown(base+"/user", 1000, 1000))
	d := open(t, base)
	b, err := d.OpenAt("root")
	must(t, err)
	defer b.Close()
	if up, err := b.OpenAt(".."); err != nil || up.Close() != nil {
		t.Error(err)
	}
	_, err = d.OpenAt("user")
	if !errors.Is(err, dirfd.ErrForeignLink) || !strings.Contains(err.Error(), base+"/user") {
		t.Errorf("a user's link: %v", err)
	}
}
