package ostreerepo_test

import (
	"errors"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

func TestLookup(t *testing.T) {
	repo, dir := newRepo(t, ostreerepo.ModeBareUser), t.TempDir()
	makeTree(t, dir)
	runTool(t, "ostree", "--repo="+repo.Path(), "commit", "--branch=tree", dir)
	c, err := repo.Resolve("tree")
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "dir", "usr": "dir", "usr/share/ünïcödé": "dir", "empty": "file", "usr/bin/tool": "file", "many/0/039": "file", "usr/link": "file",
		"usr/link/x": "", "usr/bin/tool/x": "", "nowhere": "", "usr/nowhere/x": "", "zzz": "", "usr/": "", "usr//bin": "", "usr/.": "",
	} {
		found, err := ostreerepo.Lookup(repo, commit.Tree, path)
		got := ""
		switch {
		case found.IsDir() && found.File.IsZero():
			got = "dir"
		case found.Exists():
			got = "file"
		}
		if err != nil || got != want {
			t.Errorf("%q: found %q, want %q, %v", path, got, want, err)
		}
		if got == "file" && !repo.Has(objects.KindFile, found.File) {
			t.Errorf("%q: no object %s", path, found.File)
		}
		if got == "dir" && path != "" && !repo.Has(objects.KindDirMeta, found.Dir.Meta) {
			t.Errorf("%q: no dirmeta %s", path, found.Dir.Meta)
		}
	}
	if _, err := ostreerepo.Lookup(repo, objects.Checksum{1}, "x"); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("a missing directory: %v", err)
	}
}
