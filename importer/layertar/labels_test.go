package layertar

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// pathLabels gives every path another label, and none to those that end with "plain".
type pathLabels struct{}

func (pathLabels) ID() string { return "by path" }
func (pathLabels) Err() error { return nil }

func (pathLabels) Xattr(path string, mode uint32) (objects.Xattr, bool) {
	return objects.Xattr{Name: selinuxXattr, Value: []byte(labelOf(path, mode))}, !strings.HasSuffix(path, "plain")
}

func labelOf(path string, mode uint32) string {
	kind := map[uint32]string{syscall.S_IFREG: "file", syscall.S_IFDIR: "dir", syscall.S_IFLNK: "link"}[mode&syscall.S_IFMT]
	return fmt.Sprintf("%s:%s\x00", kind, path)
}

// oneLabel gives all files one label.
type oneLabel struct{}

func (oneLabel) ID() string { return "one" }
func (oneLabel) Err() error { return nil }
func (oneLabel) Xattr(string, uint32) (objects.Xattr, bool) {
	return objects.Xattr{Name: selinuxXattr, Value: []byte("all\x00")}, true
}

// noLabels is a policy without labels, as a nil *selinux.Policy is.
type noLabels struct{ pathLabels }

func (noLabels) ID() string { return "" }

// wrongLabels is a policy that fails to give a label.
type wrongLabels struct{ pathLabels }

var errLabels = errors.New("the labels are wrong")

func (wrongLabels) Err() error { return errLabels }

// labeledEntry is an entry of a commit.
type labeledEntry struct {
	kind   uint32 // as in st_mode
	label  string
	xattrs string // the others
}

func newLabeledEntry(mode uint32, xattrs objects.Xattrs) labeledEntry {
	e := labeledEntry{kind: mode & syscall.S_IFMT}
	for _, attr := range xattrs {
		if attr.Name == selinuxXattr {
			e.label += string(attr.Value) // twice if it is there twice
		} else {
			e.xattrs += fmt.Sprintf("%s=%q ", attr.Name, attr.Value)
		}
	}
	return e
}

// labeledEntries gives the entries of a commit by path.
func labeledEntries(t *testing.T, repo *ostreerepo.Repo, commit objects.Checksum) map[string]labeledEntry {
	t.Helper()
	c, err := repo.Commit(commit)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]labeledEntry{}
	var walk func(tree, meta objects.Checksum, path string)
	walk = func(treeSum, metaSum objects.Checksum, path string) {
		meta, err := repo.DirMeta(metaSum)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = newLabeledEntry(meta.Mode, meta.Xattrs)
		tree, err := repo.DirTree(treeSum)
		if err != nil {
			t.Fatal(err)
		}
		path = strings.TrimSuffix(path, "/") + "/"
		for _, f := range tree.Files {
			header, content, err := repo.OpenFile(f.Checksum)
			if err != nil {
				t.Fatal(err)
			}
			content.Close()
			all[path+f.Name] = newLabeledEntry(header.Mode, header.Xattrs)
		}
		for _, d := range tree.Dirs {
			walk(d.Tree, d.Meta, path+d.Name)
		}
	}
	walk(c.Tree, c.Meta, "/")
	return all
}

// labeledArchive has every kind of entry, and hard links between places with different labels.
func labeledArchive(t *testing.T) []byte {
	large := strings.Repeat("large", blob.SmallFile/4)
	return archive(t,
		dir("./"), dir("usr", xattr("user.kept", "1")), file("usr/a", "a", xattr("user.kept", "1"), xattr("security.selinux", "of the image")),
		file("usr/large", large), symlink("usr/l", "a"), file("usr/plain", "a"), dir("usr/dir.plain"), file("usr/lib/implied", "b"),
		link("usr/hard", "usr/a"), link("usr/hard.plain", "usr/a"), link("usr/from-plain", "usr/plain"), link("usr/hard-l", "usr/l"), link("usr/hard-large", "usr/large"),
		link("etc/late", "usr/late"), file("usr/late", "late"), dir("etc"), file("etc/x", "x"), link("etc/hard", "usr/a"), file("var/lib/x", "x"),
		file("run/left-out", "r", xattr("user.kept", "1")), link("usr/from-run", "run/left-out"), link("usr/bin/from-run", "usr/from-run"), dir("tmp"), file("opt/x", "x"),
		file("usr/.wh.gone", ""), file("etc/.wh..wh..opq", ""), file(".wh.top", ""), link("usr/.wh.link", "usr/a"),
	)
}

func TestLabels(t *testing.T) {
	data := labeledArchive(t)
	for _, rules := range []Rules{{}, {FactoryVar: true, OnlyUsr: true}} {
		var first objects.Checksum
		for _, repoMode := range modes {
			t.Run(fmt.Sprintf("%s/%s", rules, repoMode), func(t *testing.T) {
				repo := newRepo(t, repoMode)
				commit, _ := land(t, repo, data, Options{Rules: rules, Labels: pathLabels{}})
				if first.IsZero() {
					first = commit
				}
				if commit != first {
					t.Errorf("commit %s, in another mode %s", commit, first)
				}
				without, _ := land(t, repo, data, Options{Rules: rules})
				checkLabels(t, labeledEntries(t, repo, commit), labeledEntries(t, repo, without))
				c, err := repo.Commit(commit)
				if err != nil {
					t.Fatal(err)
				}
				if id, ok := c.Metadata[MetaPolicy].AsString(); !ok || id != "by path" {
					t.Errorf("%s = %q", MetaPolicy, id)
				}
			})
		}
	}
}

// checkLabels compares a tree with the same tree without labels.
func checkLabels(t *testing.T, got, without map[string]labeledEntry) {
	t.Helper()
	for path, want := range without {
		if !strings.HasSuffix(path, "plain") && !strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], whiteoutPrefix) {
			want.label = labelOf(path, want.kind)
		}
		if got[path] != want {
			t.Errorf("%q is %+v, want %+v", path, got[path], want)
		}
	}
	if len(got) != len(without) {
		t.Errorf("%d entries instead of %d", len(got), len(without))
	}
}

func TestPoliciesWithoutLabels(t *testing.T) {
	data := labeledArchive(t)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	want, _ := land(t, repo, data, Options{})
	if got, _ := land(t, repo, data, Options{Labels: noLabels{}}); got != want {
		t.Errorf("a policy that gives none: commit %s, without a policy %s", got, want)
	}
	commit, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{Labels: wrongLabels{}})
	if !errors.Is(err, errLabels) || !commit.IsZero() {
		t.Errorf("a policy that fails: %s, %v", commit, err)
	}
}

// TestLinksWithOneLabel wants hard links to stay one object where their labels are alike, and be
// one for each label otherwise.
func TestLinksWithOneLabel(t *testing.T) {
	data := archive(t, file("usr/a", "a"), link("usr/b", "usr/a"), link("usr/c", "usr/b"), file("run/d", "d"), link("usr/e", "run/d"), link("usr/f", "run/d"))
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for labels, want := range map[Labels]int{oneLabel{}: 2, pathLabels{}: 5, nil: 2} {
		commit, _ := land(t, repo, data, Options{Labels: labels})
		c, err := repo.Commit(commit)
		if err != nil {
			t.Fatal(err)
		}
		found, err := ostreerepo.Lookup(repo, c.Tree, "usr")
		if err != nil {
			t.Fatal(err)
		}
		usr, err := repo.DirTree(found.Dir.Tree)
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[objects.Checksum]bool{}
		for _, f := range usr.Files {
			distinct[f.Checksum] = true
		}
		if len(usr.Files) != 5 || len(distinct) != want {
			t.Errorf("%T: %d files are %d objects, want %d", labels, len(usr.Files), len(distinct), want)
		}
	}
}
