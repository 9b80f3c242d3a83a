package stored_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

func TestKindOf(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	st, err := repo.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	file, err := st.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, 1, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	tree := func(d objects.DirTree) objects.Checksum {
		t.Helper()
		c, err := st.WriteDirTree(d)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	empty := tree(objects.DirTree{})
	flat := tree(objects.DirTree{Files: []objects.TreeFile{{Name: file.String(), Checksum: file}}})
	lying := tree(objects.DirTree{Files: []objects.TreeFile{{Name: empty.String(), Checksum: file}}})
	deep := tree(objects.DirTree{Dirs: []objects.TreeDir{{Name: "usr", Tree: empty, Meta: empty}}})
	text := objects.String("1")
	for _, c := range []struct {
		name   string
		commit objects.Commit
		want   string
	}{
		{"a layer of ours", objects.Commit{Metadata: objects.Dict{layertar.MetaRules: text, layertar.MetaImporter: text}, Tree: deep}, document.KindDerived},
		{"a layer of ostree-ext", objects.Commit{Metadata: objects.Dict{layertar.MetaImporter: text}, Timestamp: 7, Tree: flat}, document.KindDerived},
		{"an image's own commit", objects.Commit{Metadata: objects.Dict{layertar.MetaImporter: text, stored.MetaManifest: text}, Tree: deep}, document.KindCommit},
		{"a chunk", objects.Commit{Tree: flat}, document.KindChunk},
		{"an empty chunk", objects.Commit{Tree: empty}, document.KindChunk},
		{"files of other names", objects.Commit{Tree: lying}, document.KindCommit},
		{"a chunk with a time", objects.Commit{Tree: flat, Timestamp: 1}, document.KindCommit},
		{"a chunk with a subject", objects.Commit{Tree: flat, Subject: "x"}, document.KindCommit},
		{"a chunk with a parent", objects.Commit{Tree: flat, Parent: file}, document.KindCommit},
		{"a system without metadata", objects.Commit{Tree: deep}, document.KindCommit},
		{"a system", objects.Commit{Metadata: objects.Dict{"version": text}, Tree: deep}, document.KindCommit},
		{"something else of ours", objects.Commit{Metadata: objects.Dict{"ostree-importd.other": text}, Tree: deep}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := stored.KindOf(st, c.commit); err != nil || got != c.want {
				t.Errorf("kind %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
