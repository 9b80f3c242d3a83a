package export_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rootFormats are the formats that roots are written in.
var rootFormats = []export.Format{export.Tar, export.Squashfs, export.EROFS}

// newRoot commits a tree and makes a root of the commit.
func newRoot(t testing.TB, mode ostreerepo.Mode, nodes map[string]ocimodel.Node) export.Root {
	t.Helper()
	repo := fixture.NewRepo(t, mode)
	fixture.NoSync(t, repo)
	checksum, c := fixture.CommitTree(t, repo, nodes)
	return export.Root{
		Repo: repo, Commit: checksum, Tree: objects.TreeDir{Tree: c.Tree, Meta: c.Meta},
		ManifestDigest: digest.FromString("a manifest"), Config: []byte(`{"config":1}`),
	}
}

// smallTree has a root directory without extended attributes.
func smallTree() map[string]ocimodel.Node {
	return map[string]ocimodel.Node{
		"":          {Type: ocimodel.Dir, Mode: 0o1755, UID: 3, GID: 4},
		"usr":       {Type: ocimodel.Dir, Mode: 0o755},
		"usr/a":     {Type: ocimodel.File, Mode: 0o4711, UID: 1, Content: []byte("content"), Xattrs: map[string]string{"user.a": "1"}},
		"usr/same":  {Type: ocimodel.File, Mode: 0o644, Content: []byte("content")},
		"usr/same2": {Type: ocimodel.File, Mode: 0o644, Content: []byte("content")},
		"usr/link":  {Type: ocimodel.Symlink, Mode: 0o777, Target: "a"},
	}
}

// trees are roots that differ in what the programs can be told of the root directory.
func trees() map[string]map[string]ocimodel.Node {
	plain := smallTree()
	plain[""] = ocimodel.Node{Type: ocimodel.Dir, Mode: 0o1711}
	attributes := smallTree()
	attributes[""] = ocimodel.Node{Type: ocimodel.Dir, Mode: 0o755, Xattrs: map[string]string{"security.selinux": "system_u:object_r:root_t:s0\x00"}}
	return map[string]map[string]ocimodel.Node{"sample": fixture.SampleTree(), "small": smallTree(), "plain": plain, "attributes": attributes}
}

func destination(format export.Format, path string) export.Destination {
	return export.Destination{Root: format, Path: path}
}

// write writes a root and fails the test if that fails.
func write(t testing.TB, root export.Root, format export.Format, path string) export.RootResult {
	t.Helper()
	res, err := export.WriteRoot(t.Context(), root, destination(format, path), nil)
	must(t, err)
	return res
}

// mount shows what a root's file holds: in a loop mount, or unpacked by GNU tar.
func mount(t testing.TB, format export.Format, file string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	must(t, os.Mkdir(dir, 0o700))
	if format == export.Tar {
		fixture.MustRun(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", file, "-C", dir)
		return dir
	}
	fixture.MustRun(t, "mount", "-t", string(format), "-o", "loop,ro", file, dir)
	t.Cleanup(func() { fixture.MustRun(t, "umount", dir) })
	return dir
}

// readDisk reads what is below a directory.
func readDisk(t testing.TB, dir string) map[string]ocimodel.Node {
	t.Helper()
	nodes, err := ocimodel.ReadDisk(dir)
	must(t, err)
	return nodes
}

// files lists the names in a directory.
func files(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// fakeTools makes a directory of scripts the whole PATH.
func fakeTools(t testing.TB, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\nPATH=/usr/bin:/bin\n"+script), 0o755))
	}
	t.Setenv("PATH", dir)
	return dir
}

// damage changes the content of a file's object in a bare-user repository.
func damage(t testing.TB, root export.Root, path string) {
	t.Helper()
	found, err := ostreerepo.Lookup(root.Repo, root.Tree.Tree, path)
	must(t, err)
	name := found.File.String()
	f, err := os.OpenFile(filepath.Join(root.Repo.Path(), "objects", name[:2], name[2:]+".file"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteString("X")
	must(t, err)
	must(t, f.Close())
}

func name(format export.Format, mode ostreerepo.Mode) string {
	return fmt.Sprintf("%s %s", format, mode)
}
