package ostreerepo_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// modes are those that can be written.
var modes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

// runTool runs a real command and returns its output without white space around it.
func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

func newRepo(t testing.TB, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func newStaging(t testing.TB, repo *ostreerepo.Repo) *ostreerepo.Staging {
	t.Helper()
	s, err := repo.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// makeTree fills dir with what a layer may hold: owners, modes, extended attributes, symlinks,
// small and large files.
func makeTree(t testing.TB, dir string) {
	t.Helper()
	needs.Root(t)
	write := func(name, content string, mode uint32, uid, gid int) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("empty", "", 0o644, 0, 0)
	write("usr/bin/tool", "#!/bin/sh\n", 0o755, 0, 0)
	write("usr/bin/suid", "privileged", 0o6755, 3, 4)
	write("usr/bin/private", "unreadable by its owner", 0o200, 1000, 1000)
	write("usr/bin/nothing", "mode 0", 0, 5, 5)
	write("usr/share/ünïcödé/file with spaces", "text\n", 0o666, 65534, 65534)
	write("usr/share/just-small", strings.Repeat("s", 1<<20), 0o644, 0, 0)
	write("usr/share/just-large", strings.Repeat("l", 1<<20+1), 0o644, 7, 8)
	write("usr/share/large", strings.Repeat("0123456789abcdef", 200_000), 0o640, 0, 0)
	write("usr/share/same", strings.Repeat("l", 1<<20+1), 0o644, 7, 8)
	write("opt/attrs", "attributes", 0o644, 0, 0)
	for i := range 40 {
		write(fmt.Sprintf("many/%d/%03d", i%3, i), fmt.Sprint(i), 0o644, i, i)
	}
	for name, target := range map[string]string{"usr/link": "bin/tool", "usr/long": strings.Repeat("t/", 1000), "opt/dangling": "/nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(filepath.Join(dir, "opt/dangling"), 9, 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "opt"), 0o1777); err != nil {
		t.Fatal(err)
	}
	for _, attr := range []struct{ name, attr, value string }{
		{"opt/attrs", "user.z", "last"}, {"opt/attrs", "user.a", "first"}, {"opt/attrs", "user.empty", ""},
		{"opt/attrs", "trusted.t", strings.Repeat("x", 300)}, {"opt", "user.dir", "value"}, {"opt", "user.another", "value"},
		{"usr/bin/suid", "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"opt/dangling", "trusted.link", "value"},
	} {
		if err := unix.Lsetxattr(filepath.Join(dir, attr.name), attr.attr, []byte(attr.value), 0); err != nil {
			t.Fatalf("%s: %s: %v", attr.name, attr.attr, err)
		}
	}
}

// stageDir writes what is in a directory into the staging, and returns the checksums of its dirtree
// and dirmeta.
func stageDir(t testing.TB, s *ostreerepo.Staging, dir string) (tree, meta objects.Checksum) {
	t.Helper()
	var d objects.DirTree
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			tree, meta := stageDir(t, s, path)
			d.Dirs = append(d.Dirs, objects.TreeDir{Name: entry.Name(), Tree: tree, Meta: meta})
			continue
		}
		d.Files = append(d.Files, objects.TreeFile{Name: entry.Name(), Checksum: stageFile(t, s, path)})
	}
	stat := lstat(t, dir)
	tree, err = s.WriteDirTree(d)
	if err != nil {
		t.Fatal(err)
	}
	meta, err = s.WriteDirMeta(objects.DirMeta{UID: stat.Uid, GID: stat.Gid, Mode: stat.Mode, Xattrs: xattrs(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	return tree, meta
}

func stageFile(t testing.TB, s *ostreerepo.Staging, path string) objects.Checksum {
	t.Helper()
	stat := lstat(t, path)
	h := objects.FileHeader{UID: stat.Uid, GID: stat.Gid, Mode: stat.Mode, Xattrs: xattrs(t, path)}
	var c objects.Checksum
	var err error
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		h.Target, err = os.Readlink(path)
		if err == nil {
			h.Mode = unix.S_IFLNK | 0o644 // must not matter
			c, err = s.WriteSymlink(h)
		}
	} else {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			c, err = s.WriteFile(h, stat.Size, f)
			f.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lstat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return stat
}

// xattrs returns them in the reverse of the order in which they must be stored.
func xattrs(t testing.TB, path string) objects.Xattrs {
	t.Helper()
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var x objects.Xattrs
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		x = append(x, objects.Xattr{Name: name, Value: value[:n]})
	}
	slices.SortFunc(x, func(a, b objects.Xattr) int { return strings.Compare(b.Name, a.Name) })
	return x
}

// stageCommit writes a commit of dir, as `ostree commit --timestamp=@0 --no-bindings` would.
func stageCommit(t testing.TB, s *ostreerepo.Staging, dir string) objects.Checksum {
	t.Helper()
	tree, meta := stageDir(t, s, dir)
	c, err := s.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// landRef sets a ref and lands it.
func landRef(t testing.TB, s *ostreerepo.Staging, ref string, c objects.Checksum) {
	t.Helper()
	if err := s.SetRef(ref, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// cliCommit commits dir by the ostree command.
func cliCommit(t testing.TB, repo *ostreerepo.Repo, ref, dir string) objects.Checksum {
	t.Helper()
	out := runTool(t, "ostree", "commit", "--repo="+repo.Path(), "--branch="+ref, "--no-bindings", "--timestamp=@0", "--tree=dir="+dir)
	c, err := objects.ParseChecksum(out)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkClean asserts that fsck finds nothing, and that neither a staging nor a partial commit is
// left.
func checkClean(t testing.TB, repo *ostreerepo.Repo) {
	t.Helper()
	if err := repo.Fsck(t.Context()); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"tmp/importd-*", "state/*"} {
		if left, _ := filepath.Glob(filepath.Join(repo.Path(), pattern)); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
}
