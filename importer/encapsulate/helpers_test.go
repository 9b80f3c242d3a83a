package encapsulate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command and gives what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// modes are those of repositories that can be encapsulated from.
var modes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

func newRepo(t testing.TB, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatalf("%v (on Debian: apt-get install ostree)", err)
	}
	run(t, "ostree", "--repo="+repo.Path(), "config", "set", "core.fsync", "false")
	return repo
}

// node is a file to make: content, or a symlink when target is set.
type node struct {
	content, target string
	mode            uint32 // 0 means 0644
	uid, gid        int
	xattrs          map[string]string
}

// makeFiles makes files with the directories above them.
func makeFiles(t testing.TB, dir string, files map[string]node) {
	t.Helper()
	needs.Root(t)
	for name, n := range files {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if n.target != "" {
			check(t, os.Symlink(n.target, path))
			check(t, os.Lchown(path, n.uid, n.gid))
		} else {
			check(t, os.WriteFile(path, []byte(n.content), 0o600))
			check(t, os.Chown(path, n.uid, n.gid))
			if n.mode == 0 {
				n.mode = 0o644
			}
			check(t, unix.Chmod(path, n.mode))
		}
		for attr, value := range n.xattrs {
			if err := unix.Lsetxattr(path, attr, []byte(value), 0); err != nil {
				t.Fatalf("%s: %s: %v", path, attr, err)
			}
		}
	}
}

const selinux = "system_u:object_r:bin_t:s0\x00"

// system is what the tree of an operating system may hold.
func system() map[string]node {
	files := map[string]node{
		"usr/bin/tool":    {content: "#!/bin/sh\n", mode: 0o755, xattrs: map[string]string{"user.b": "2", "user.a": "a=b\x00c"}},
		"usr/bin/same":    {content: "#!/bin/sh\n", mode: 0o755, xattrs: map[string]string{"user.b": "2", "user.a": "a=b\x00c"}},
		"usr/bin/suid":    {content: "privileged", mode: 0o6755, uid: 3, gid: 4, xattrs: map[string]string{"security.selinux": selinux}},
		"usr/bin/private": {content: "mode 0200", mode: 0o200, uid: 1000, gid: 1000},
		"usr/bin/caps": {content: "capable", mode: 0o755, xattrs: map[string]string{
			"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "security.selinux": selinux}},
		"usr/etc/config":              {content: "a file called config"},
		"usr/etc/empty":               {},
		"usr/etc/dir/other":           {content: "other"},
		"usr/lib/empty":               {},
		"usr/lib/empty-attr":          {xattrs: map[string]string{"user.a": "1"}},
		"usr/lib/large":               {content: strings.Repeat("0123456789abcdef", 200_000), mode: 0o640, uid: 7, gid: 8},
		"usr/lib/high":                {content: "x", uid: 4_000_000_000, gid: 3_000_000},
		"usr/lib/modules/6.1/vmlinuz": {content: "kernel", mode: 0o755},
		"usr/lib/eq":                  {content: "odd name", xattrs: map[string]string{"user.a=b": "1"}},
		"usr/share/ünïcödé/" + strings.Repeat("long", 60): {content: "text", mode: 0o666, uid: 65534, gid: 65534},
		"usr/share/ünïcödé/empty":                         {xattrs: map[string]string{"user.ü": "ü"}},
		"usr/link":                                        {target: "bin/tool"},
		"usr/same-link":                                   {target: "bin/tool"},
		"usr/double":                                      {target: "..//usr//bin/"},
		"usr/dot":                                         {target: "./x/../y/"},
		"usr/long":                                        {target: strings.Repeat("t/", 1000)},
		"usr/dangling":                                    {target: "/nowhere é", uid: 9, gid: 10, xattrs: map[string]string{"trusted.link": "value"}},
		"sysroot/odd/file":                                {content: "in a directory that images don't show"},
		"sysroot/ostree/repo/objects/x":                   {content: "looks like an object"},
		"root-file":                                       {content: "at the top"},
	}
	for i := range 60 {
		files[fmt.Sprintf("usr/share/many/%d/%d", i%7, i)] = node{content: fmt.Sprint(i % 50), uid: i % 3}
	}
	return files
}

// commitTree commits a directory. The keys of the commit's metadata are not sorted.
func commitTree(t testing.TB, repo *ostreerepo.Repo, dir string, args ...string) objects.Checksum {
	t.Helper()
	args = append([]string{"commit", "--repo=" + repo.Path(), "--branch=os/stable", "--timestamp=@1700000000", "--subject=Système",
		"--add-metadata-string=version=41.1", "--add-metadata-string=a=1", "--add-detached-metadata-string=signed=by me", "--tree=dir=" + dir}, args...)
	c, err := objects.ParseChecksum(strings.TrimSpace(run(t, "ostree", args...)))
	check(t, err)
	return c
}

// commitFiles is a repository with a commit of files.
func commitFiles(t testing.TB, mode ostreerepo.Mode, files map[string]node, args ...string) (*ostreerepo.Repo, objects.Checksum) {
	t.Helper()
	dir := t.TempDir()
	makeFiles(t, dir, files)
	repo := newRepo(t, mode)
	return repo, commitTree(t, repo, dir, args...)
}

func layout(path string) reference.Image {
	return reference.Image{Transport: reference.TransportOCI, Name: path}
}

// write encapsulates a commit as a layout in a directory.
func write(t testing.TB, repo *ostreerepo.Repo, c objects.Checksum, dir string, opts encapsulate.Options) encapsulate.Result {
	t.Helper()
	result, err := tryWrite(t.Context(), repo, c, dir, opts)
	check(t, err)
	return result
}

func tryWrite(ctx context.Context, repo *ostreerepo.Repo, c objects.Checksum, dir string, opts encapsulate.Options) (encapsulate.Result, error) {
	w, err := ocilayout.New(layout(dir), ocilayout.Options{NoSync: true})
	if err != nil {
		return encapsulate.Result{}, err
	}
	defer w.Close()
	return encapsulate.Encapsulate(ctx, repo, c, w, opts, nil)
}

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Encoded())
}

// readBlob reads a blob of a layout.
func readBlob(t testing.TB, dir string, d digest.Digest) []byte {
	t.Helper()
	raw, err := os.ReadFile(blobPath(dir, d))
	check(t, err)
	return raw
}

// documents reads manifest and config of an image.
func documents(t testing.TB, dir string, r encapsulate.Result) (m ocispec.Manifest, c ocispec.Image) {
	t.Helper()
	check(t, json.Unmarshal(readBlob(t, dir, r.ManifestDigest), &m))
	check(t, json.Unmarshal(readBlob(t, dir, r.ConfigDigest), &c))
	return m, c
}

// uncompressed gives the archive of a layer.
func uncompressed(t testing.TB, dir string, l encapsulate.Layer) []byte {
	t.Helper()
	var archive bytes.Buffer
	_, err := blob.Read(t.Context(), bytes.NewReader(readBlob(t, dir, l.Descriptor.Digest)), blob.Layer{Descriptor: l.Descriptor, DiffID: l.DiffID}, blob.Options{},
		func(_ context.Context, r io.Reader, _ *blob.Writers) error {
			_, err := io.Copy(&archive, r)
			return err
		})
	check(t, err)
	return archive.Bytes()
}

// unencapsulate imports an image into an empty repository, and fails the test unless that is whole.
func unencapsulate(t testing.TB, dir string, r encapsulate.Result, mode ostreerepo.Mode) (*ostreerepo.Repo, objects.Checksum) {
	t.Helper()
	repo := newRepo(t, mode)
	st, err := repo.NewStaging()
	check(t, err)
	defer st.Close()
	var commit objects.Checksum
	for i, l := range r.Layers {
		f, err := os.Open(blobPath(dir, l.Descriptor.Digest))
		check(t, err)
		layer := blob.Layer{Descriptor: l.Descriptor, DiffID: l.DiffID}
		if i == 0 {
			read, _, err := ostreetar.ReadCommit(t.Context(), st, f, layer, ostreetar.Options{})
			check(t, err)
			commit = read.Checksum
		} else {
			_, _, err := ostreetar.ReadChunk(t.Context(), st, f, layer, ostreetar.Options{})
			check(t, err)
		}
	}
	check(t, st.Complete(t.Context(), commit))
	check(t, st.SetRef("imported", commit))
	check(t, st.Land(t.Context()))
	run(t, "ostree", "--repo="+repo.Path(), "fsck", "--quiet")
	return repo, commit
}

// detached gives the bytes of a commit's detached metadata.
func detached(t testing.TB, repo *ostreerepo.Repo, c objects.Checksum) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repo.Path(), "objects", c.String()[:2], c.String()[2:]+".commitmeta"))
	check(t, err)
	return raw
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nlacks %q", err, part)
		}
	}
}
