package layertar

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// wellBehaved is an archive that the ostree command imports as it should: it lists every directory
// before what is in it, and no entry has more than one extended attribute.
func wellBehaved(t *testing.T) []byte {
	return archive(t,
		dir("./", mode(0o711), owned(1, 1)), dir("./usr/", owned(2, 3)), file("./usr/empty", ""), file("./usr/a", "content", mode(0o6755), owned(4, 5)),
		file("./usr/capable", "x", xattr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")),
		symlink("./usr/l", "../etc/x", owned(6, 7)), link("./usr/h", "./usr/a"), link("./usr/lh", "./usr/l"), dir("./usr/sticky", mode(0o1777), xattr("user.d", "v")),
		file("./usr/sticky/é", "second", mode(0o200)), dir("./opt"), dir("./opt/deep"), dir("./opt/deep/er"), file("./opt/deep/er/f", string(make([]byte, blob.SmallFile+5))),
		file("./.wh.gone", ""), file("./opt/.wh..wh..opq", ""),
	)
}

// TestLikeTheOSTreeCommand compares with a commit that the ostree command makes of the same
// archive.
func TestLikeTheOSTreeCommand(t *testing.T) {
	data := wellBehaved(t)
	path := t.TempDir() + "/layer.tar"
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			ostree(t, repo, "commit", "--branch=theirs", "--tree=tar="+path)
			commit, _ := land(t, repo, data, Options{})
			want := ostree(t, repo, "ls", "-R", "-X", "-C", "theirs")
			if got := ostree(t, repo, "ls", "-R", "-X", "-C", commit.String()); got != want {
				t.Errorf("listing\n%s\nwant\n%s", got, want)
			}
			theirs, err := repo.Resolve("theirs")
			if err != nil {
				t.Fatal(err)
			}
			if ours, want := treeOf(t, repo, commit), treeOf(t, repo, theirs); ours != want {
				t.Errorf("tree and meta %s, want %s", ours, want)
			}
		})
	}
}

func treeOf(t *testing.T, repo *ostreerepo.Repo, commit objects.Checksum) [2]objects.Checksum {
	t.Helper()
	c, err := repo.Commit(commit)
	if err != nil {
		t.Fatal(err)
	}
	return [2]objects.Checksum{c.Tree, c.Meta}
}

// TestDeterministic wants one commit of one layer: in every repository mode, with any number of
// writers, however it is compressed, and the same as ever.
func TestDeterministic(t *testing.T) {
	const known = "5b02b678942d56504da8dca9c20c7a64a3ab87bf92f2f5e172ebef56e1c0efe0"
	data := archive(t, dir("usr"), file("usr/a", "1", xattr("user.b", "1"), xattr("user.a", "1")), symlink("usr/l", "a"), file("run/x", "1"), file("run/y", "1"),
		file("etc/x", "1", owned(3, 4)), file("etc/.wh.y", ""), file("var/x", "1"))
	opts := Options{Rules: Rules{FactoryVar: true}}
	for _, mode := range modes {
		for _, writers := range []int{1, 4} {
			opts.Writers = writers
			repo := newRepo(t, mode)
			commit, _ := land(t, repo, data, opts)
			if commit.String() != known {
				t.Errorf("%s: commit %s, want %s", mode, commit, known)
			}
		}
	}
}

func TestCommitMetadata(t *testing.T) {
	data := archive(t, file("usr/lib/a", "1"), file("run/x", "1"), file("run/y/z", "1"), file("tmp/y/z", "1"), file("usr-local/a", "1"))
	repo := newRepo(t, ostreerepo.ModeBareUser)
	commit, _ := land(t, repo, data, Options{Rules: Rules{FactoryVar: true}})
	c, err := repo.Commit(commit)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		MetaDiffID: layerOf(data, data).DiffID.String(), MetaRules: "2 factory-var", MetaImporter: "ostree-importd 1",
		MetaTree: c.Tree.String() + " " + c.Meta.String(),
	} {
		if got, ok := c.Metadata[key].AsString(); !ok || got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if got, ok := c.Metadata[MetaFiltered].AsCounts(); !ok || len(got) != 2 || got["x"] != 1 || got["y"] != 2 {
		t.Errorf("%s = %v", MetaFiltered, got)
	}
	if got := implied(t, repo, commit); !slices.Equal(got, []string{"", "usr", "usr-local", "usr/lib"}) {
		t.Errorf("%s = %q", MetaImplied, got)
	}
	if len(c.Metadata) != 6 || c.Timestamp != 0 || c.Subject != "" || c.Body != "" || !c.Parent.IsZero() {
		t.Errorf("commit %+v", c)
	}
	commit, _ = land(t, repo, archive(t, dir("./")), Options{})
	if c, err = repo.Commit(commit); err != nil || len(c.Metadata) != 4 {
		t.Errorf("metadata %v, %v", c.Metadata, err)
	}
}

func TestRulesString(t *testing.T) {
	for rules, want := range map[Rules]string{
		{}: "2", {FactoryVar: true}: "2 factory-var", {OnlyUsr: true}: "2 only-usr", {FactoryVar: true, OnlyUsr: true}: "2 factory-var only-usr",
		{SysrootLinks: true}: "2 sysroot-links", {OnlyUsr: true, SysrootLinks: true}: "2 only-usr sysroot-links",
	} {
		if got := rules.String(); got != want {
			t.Errorf("%+v = %q, want %q", rules, got, want)
		}
		for _, text := range []string{want, "1" + want[1:]} {
			if got := ParseRules(text); got != rules {
				t.Errorf("ParseRules(%q) = %+v, want %+v", text, got, rules)
			}
		}
	}
	for _, text := range []string{"", "3 factory-var", "factory-var"} {
		if got := ParseRules(text); got != (Rules{}) {
			t.Errorf("ParseRules(%q) = %+v", text, got)
		}
	}
}

// TestSparseFiles imports what GNU tar stores of a file with holes, in each of its formats, as the
// whole file.
func TestSparseFiles(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 3<<20)
	copy(content[2<<20:], "in the middle")
	sparse, err := os.Create(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sparse.WriteAt([]byte("in the middle"), 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sparse.Truncate(int64(len(content))), sparse.Close()); err != nil {
		t.Fatal(err)
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	want, _ := land(t, repo, archive(t, file("f", string(content))), Options{})
	for _, format := range []string{"--format=gnu", "--format=pax", "--sparse-version=0.0", "--sparse-version=0.1"} {
		t.Run(format, func(t *testing.T) {
			data := compress(t, nil, "tar", "--sparse", format, "--owner=0", "--group=0", "--mode=0644", "-C", dir, "-c", "f")
			if len(data) > len(content)/10 {
				t.Fatalf("tar did not make a sparse archive but %d bytes", len(data))
			}
			commit, _ := land(t, repo, data, Options{})
			if treeOf(t, repo, commit) != treeOf(t, repo, want) {
				t.Errorf("listing %q", listing(t, repo, commit))
			}
		})
	}
}
