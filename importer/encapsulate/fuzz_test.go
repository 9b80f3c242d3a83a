package encapsulate

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// linkTree makes a commit of files and symlinks (those with a target) in the directories "" and
// "d", and scans it.
func linkTree(t testing.TB, links map[string]string) *tree {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeArchive, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := repo.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var top, d objects.DirTree
	for _, name := range sortedKeys(links) {
		var c objects.Checksum
		if links[name] != "" {
			c, err = st.WriteSymlink(objects.FileHeader{Mode: unix.S_IFLNK | 0o777, Target: links[name]})
		} else {
			c, err = st.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, int64(len(name)), strings.NewReader(name))
		}
		if err != nil {
			t.Fatal(err)
		}
		if below, ok := strings.CutPrefix(name, "d/"); ok {
			d.Files = append(d.Files, objects.TreeFile{Name: below, Checksum: c})
		} else {
			top.Files = append(top.Files, objects.TreeFile{Name: name, Checksum: c})
		}
	}
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	below, err := st.WriteDirTree(d)
	if err != nil {
		t.Fatal(err)
	}
	top.Dirs = []objects.TreeDir{{Name: "d", Tree: below, Meta: meta}}
	root, err := st.WriteDirTree(top)
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.WriteCommit(objects.Commit{Tree: root, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetRef("links", c); err != nil {
		t.Fatal(err)
	}
	if err := st.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	scanned, err := scan(t.Context(), repo, objects.TreeDir{Tree: root, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	return scanned
}

// links is a tree of symlinks that lead everywhere.
var links = map[string]string{
	"file": "", "d/file": "", "root": "/", "dot": ".", "up": "../../..", "abs": "/d", "rel": "d", "d/back": "..", "d/abs": "/abs",
	"loop": "loop", "long": "long/long/long/x", "a": "b/b/b/b", "b": "dot/dot/dot/root/d/back", "one": "two/x", "two": "one/x", "tofile": "file",
}

func TestFind(t *testing.T) {
	tree := linkTree(t, links)
	for range 2 { // what is remembered must give the same
		for name, want := range map[string]string{
			"/file": "file", "file": "file", "./file/": "file", "/d/file": "d/file", "/root/file": "file", "/up/d/file": "d/file", "/abs/file": "d/file",
			"rel/back/rel/file": "d/file", "/a/file": "file", "/a/a/b/d/abs/file": "d/file", "/root": "root", "/../d/file": "d/file", "/d/abs": "d/abs",
			"": "", "/": "", "d": "", "/d/": "", "/file/x": "", "/tofile/x": "", "/loop/x": "", "/long/x": "", "/one/x": "", "/none/x": "",
			strings.Repeat("/d/..", 900) + "/file": "", strings.Repeat("/abs/back", 400) + "/file": "file", "/rel/none": "",
		} {
			c := tree.find(name)
			if got := c; want == "" && got != nil || want != "" && (got == nil || got.paths[0] != want) {
				t.Errorf("%q leads to %v instead of %q", name, got, want)
			}
		}
	}
}

// FuzzDatabase takes what an RPM database or a list of dpkg may say.
func FuzzDatabase(f *testing.F) {
	tree := linkTree(f, links)
	f.Add("Pbash\nB1700000000\nF/rel/file\nC1699999999\n")
	f.Add("F/a/a/a/a\nB9223372036854775807\nC-9223372036854775808\nP\nF\nP,\x00\n\n")
	f.Add("F/one/two/loop/long/../../root/up/d/back/abs\r\nF" + strings.Repeat("/a", 100))
	f.Fuzz(func(t *testing.T, text string) {
		tree.links = make(map[string]place)
		answer := rpmAnswer{packages: newPackages(tree), changes: make(map[string][]int64)}
		for line := range strings.Lines(text) {
			if err := answer.record(rpmdb.Kind(line[0]), strings.TrimSpace(line[1:])); err != nil {
				return
			}
		}
		p := answer.finish()
		if err := eachLine(t.Context(), strings.NewReader(text), func(line string) { p.claim("list", line) }); err != nil {
			t.Fatal(err)
		}
		contents := 0
		for _, c := range p.part() {
			if strings.ContainsAny(c.name, ",\n\x00") {
				t.Errorf("component %q", c.name)
			}
			contents += len(c.contents)
		}
		if contents != len(tree.contents) {
			t.Errorf("%d of %d contents", contents, len(tree.contents))
		}
	})
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
