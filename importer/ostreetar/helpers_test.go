package ostreetar_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// makeTree fills a directory with what a system's tree may hold.
func makeTree(t testing.TB, dir string) {
	t.Helper()
	needs.Root(t)
	write := func(name, content string, mode uint32, owner int) {
		t.Helper()
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(content), 0o600))
		check(t, os.Chown(path, owner, owner+1))
		check(t, unix.Chmod(path, mode))
	}
	write("usr/bin/tool", "#!/bin/sh\n", 0o755, 0)
	write("usr/bin/same", "#!/bin/sh\n", 0o755, 0)
	write("usr/bin/suid", "privileged", 0o6755, 3)
	write("usr/bin/private", "mode 0", 0, 1000)
	write("usr/etc/config", "a file called config", 0o644, 0)
	write("usr/etc/empty", "", 0o644, 0)
	write("usr/lib/empty", "", 0o644, 0)
	write("usr/lib/empty-attr", "", 0o644, 0)
	write("usr/lib/small", strings.Repeat("s", blob.SmallFile), 0o644, 0)
	write("usr/lib/large", strings.Repeat("0123456789abcdef", 200_000), 0o640, 7)
	write("usr/share/ünïcödé/"+strings.Repeat("long", 60), "text", 0o666, 65534)
	write("usr/lib/high-owner", "x", 0o644, 4_000_000_000)
	for i := range 300 {
		name := fmt.Sprintf("usr/share/many/%d/%d", i%7, i)
		write(name, fmt.Sprint(i%290), 0o644, i%3)
		if i%3 == 0 {
			check(t, unix.Lsetxattr(filepath.Join(dir, name), "user.some", fmt.Append(nil, i%5), 0))
		}
	}
	for name, target := range map[string]string{
		"usr/link": "bin/tool", "usr/double": "..//usr//bin/", "usr/dot": "./x/../y/", "usr/long": strings.Repeat("t/", 1000), "usr/dangling": "/nowhere é",
	} {
		check(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	check(t, os.Lchown(filepath.Join(dir, "usr/dangling"), 9, 10))
	check(t, os.Chmod(filepath.Join(dir, "usr/share"), 0o1777))
	for _, attr := range []struct{ name, attr, value string }{
		{"usr/bin/tool", "user.a", "1"}, {"usr/lib/empty-attr", "user.a", "1"}, {"usr/lib/large", "user.big", strings.Repeat("x", 300)},
		{"usr/lib", "user.dir", "value"}, {"usr/bin/suid", "security.selinux", "system_u:object_r:bin_t:s0\x00"},
		{"usr/bin/same", "user.a", "1"}, {"usr/bin/same", "user.b", "2"}, {"usr/bin/same", "security.selinux", "system_u:object_r:bin_t:s0\x00"},
		{"usr/dangling", "trusted.link", "value"},
	} {
		if err := unix.Lsetxattr(filepath.Join(dir, attr.name), attr.attr, []byte(attr.value), 0); err != nil {
			t.Fatalf("%s: %s: %v", attr.name, attr.attr, err)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRepo(t testing.TB, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(context.WithoutCancel(t.Context()), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatalf("%v (on Debian: apt install ostree)", err)
	}
	run(t, "ostree", "--repo="+repo.Path(), "config", "set", "core.fsync", "false")
	return repo
}

// modes are those that can be imported into.
var modes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

// run runs a command and gives what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// commitTree commits a directory, bound to a ref and with detached metadata.
func commitTree(t testing.TB, repo *ostreerepo.Repo, dir string, args ...string) objects.Checksum {
	t.Helper()
	args = append([]string{"commit", "--repo=" + repo.Path(), "--branch=os/stable", "--timestamp=@1700000000", "--subject=Système",
		"--add-metadata-string=version=1", "--add-detached-metadata-string=signed=by me", "--tree=dir=" + dir}, args...)
	c, err := objects.ParseChecksum(strings.TrimSpace(run(t, "ostree", args...)))
	check(t, err)
	return c
}

// source is a repository with a commit of makeTree.
func source(t testing.TB, mode ostreerepo.Mode) (*ostreerepo.Repo, objects.Checksum) {
	t.Helper()
	dir := t.TempDir()
	makeTree(t, dir)
	repo := newRepo(t, mode)
	return repo, commitTree(t, repo, dir)
}

// smallSource is a repository with a commit of a few files.
func smallSource(t testing.TB) (*ostreerepo.Repo, objects.Checksum) {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "usr"), 0o755))
	for _, name := range []string{"a", "b", "c"} {
		path := filepath.Join(dir, "usr", name)
		check(t, os.WriteFile(path, []byte(name), 0o644))
		check(t, unix.Lsetxattr(path, "user.name", []byte(name), 0))
	}
	check(t, os.Symlink("a", filepath.Join(dir, "usr/link")))
	repo := newRepo(t, ostreerepo.ModeArchive)
	return repo, commitTree(t, repo, dir)
}

func newStaging(t testing.TB, repo *ostreerepo.Repo) *ostreerepo.Staging {
	t.Helper()
	st, err := repo.NewStaging()
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	return st
}

func layerOf(blobData, archive []byte) blob.Layer {
	return blob.Layer{
		Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(blobData), Size: int64(len(blobData))},
		DiffID:     digest.FromBytes(archive),
	}
}

func readCommit(t testing.TB, st *ostreerepo.Staging, archive []byte, opts ostreetar.Options) (ostreetar.Commit, ostreetar.Stats, error) {
	return ostreetar.ReadCommit(context.WithoutCancel(t.Context()), st, bytes.NewReader(archive), layerOf(archive, archive), opts)
}

func readChunk(t testing.TB, st *ostreerepo.Staging, archive []byte) (objects.Checksum, ostreetar.Stats, error) {
	return ostreetar.ReadChunk(context.WithoutCancel(t.Context()), st, bytes.NewReader(archive), layerOf(archive, archive), ostreetar.Options{})
}

func land(t testing.TB, st *ostreerepo.Staging, ref string, c objects.Checksum) {
	t.Helper()
	check(t, st.SetRef(ref, c))
	check(t, st.Land(t.Context()))
}

// listing is what ostree lists of a commit.
func listing(t testing.TB, repo *ostreerepo.Repo, c objects.Checksum) string {
	t.Helper()
	return run(t, "ostree", "--repo="+repo.Path(), "ls", "-R", "-C", "-X", c.String())
}
