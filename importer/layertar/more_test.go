package layertar

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// moreOf lists a layer's archive of more entries, and the paths that are not moved.
func moreOf(t *testing.T, repo *ostreerepo.Repo, commit objects.Checksum) (more, own []string) {
	t.Helper()
	c, err := repo.Commit(commit)
	if err != nil {
		t.Fatal(err)
	}
	own, _ = c.Metadata[MetaOwn].AsStrings()
	found, err := ostreerepo.Lookup(repo, c.Tree, MoreName)
	if err != nil {
		t.Fatal(err)
	}
	if _, told := c.Metadata[MetaMore]; told != found.Exists() {
		t.Errorf("the metadata tells of more entries: %t, there are some: %t", told, found.Exists())
	}
	if !found.Exists() {
		return nil, own
	}
	_, r, err := repo.OpenFile(found.File)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = ReadMore(t.Context(), r, func(e Entry) error {
		line := fmt.Sprintf("%c %.60s", e.Type, e.Path)
		switch e.Type {
		case tar.TypeLink:
			line += " -> " + e.Target
		case tar.TypeSymlink:
			line += fmt.Sprintf(" -> %s %d", e.Link.Target, e.Link.UID)
		case tar.TypeDir:
			line += fmt.Sprintf(" %o %d %v", e.Dir.Mode, e.Dir.UID, e.Dir.Xattrs)
		}
		if e.Object != "" {
			object, err := ostreerepo.Lookup(repo, c.Tree, e.Object)
			if err != nil {
				return err
			}
			h, content, err := repo.OpenFile(object.File)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %o %d %v", h.Mode, h.UID, h.Xattrs)
			if err := content.Close(); err != nil {
				return err
			}
		}
		more = append(more, line)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return more, own
}

// TestMoreEntries wants a layer commit to say what its tree can't.
func TestMoreEntries(t *testing.T) {
	long := strings.Repeat("n", 253)
	odd := pax("LIBARCHIVE.xattr.user.a%3Db", "eA")
	tests := []struct {
		name    string
		opts    Options
		entries []entry
		more    []string
		own     []string
	}{
		{name: "an ordinary layer", entries: []entry{dir("usr"), dir("etc"), file("etc/a", "1"), file(".wh.etc", ""), file("var/a", "")}},
		{name: "only the image's own usr/etc", entries: []entry{file("usr/etc/a", "1"), file("usr/.wh.etc", "")}, own: []string{"usr/.wh.etc", "usr/etc"}},
		{name: "both apart", entries: []entry{file("usr/etc/a/x", "1"), file("etc/b/x", "1")}, own: []string{"usr/etc/a"}},
		{
			name: "both",
			entries: []entry{
				dir("usr/etc", mode(0o700), owned(3, 3)), file("usr/etc/a", "own", owned(4, 4), odd), file("etc/a", "1"), symlink("usr/etc/l", "own", owned(5, 5)), file("etc/l", "1"),
				file("usr/etc/.wh.x", ""), file("etc/.wh.x", ""), file("usr/etc/c/d", ""), file("usr/etc/f", "own"), file("etc/f/g", ""), file(".wh.etc", ""), file("usr/.wh.etc", ""),
			},
			more: []string{
				"5 usr/etc 40700 3 []", "0 usr/etc/.wh.x", "0 usr/etc/a 100644 4 [{user.a=b [120]}]", "0 usr/etc/f 100644 0 []", "2 usr/etc/l -> own 5", "0 usr/.wh.etc",
			},
			own: []string{"usr/etc/c"},
		},
		{
			name: "the factory's var", opts: Options{Rules: Rules{FactoryVar: true}},
			entries: []entry{file("usr/share/factory/var/a", "own"), file("var/a", "1"), file("usr/share/factory/var/b", "1")},
			more:    []string{"0 usr/share/factory/var/a 100644 0 []"}, own: []string{"usr/share/factory/var/b"},
		},
		{name: "without the rule", entries: []entry{file("usr/share/factory/var/a", "own"), file("var/a", "1")}},
		{
			name: "etc that leads to usr/etc", entries: []entry{dir("usr/etc"), symlink("etc", "usr/etc"), file("etc/a", "")},
			more: []string{"2 etc -> usr/etc 0"}, own: []string{"usr/etc"},
		},
		{
			name: "up from what only lower layers know",
			entries: []entry{
				symlink("s", "lib/../share"), file("s/doc", "1", owned(7, 7)), dir("s/d", mode(0o700)), file("s/.wh.x", ""), symlink("s/l", "t"), link("h", "s/doc"), link("s/h", "a"),
			},
			more: []string{"0 s/doc 100644 7 []", "5 s/d 40700 0 []", "0 s/.wh.x", "2 s/l -> t 0", "1 h -> s/doc", "1 s/h -> a"},
		},
		{name: "up from what the layer lists", entries: []entry{dir("lib"), symlink("s", "lib/../share"), file("s/doc", "1")}},
		{
			name:    "hard links to lower layers",
			entries: []entry{link("b", "usr/a"), link("c", "b"), link("d", "later"), file("later", "1"), link("e", "later"), link("gone", "usr/a"), file("gone", "1")},
			more:    []string{"1 b -> usr/a", "1 c -> usr/a", "1 d -> later"},
		},
		{
			name: "long whiteouts", entries: []entry{file("usr/.wh."+long, ""), file("a/.wh."+long, ""), file("a/.wh.x", "")},
			more: []string{"0 usr/.wh." + long[:52], "0 a/.wh." + long[:54]},
		},
		{
			name: "hard links to special files that are left out", opts: Options{DropSpecialFiles: true},
			entries: []entry{special(tar.TypeFifo, "f"), link("g", "f"), link("h", "i"), special(tar.TypeChar, "i"), link("j", "h"), special(tar.TypeFifo, "k"), file("k", "1"), link("l", "k")},
			more:    []string{"6 f", "6 g", "3 i", "6 h", "6 j"},
		},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			commit, _ := land(t, repo, archive(t, tt.entries...), tt.opts)
			more, own := moreOf(t, repo, commit)
			if !slices.Equal(more, tt.more) {
				t.Errorf("more entries\n%s\nwant\n%s", strings.Join(more, "\n"), strings.Join(tt.more, "\n"))
			}
			if !slices.Equal(own, tt.own) {
				t.Errorf("own places %q, want %q", own, tt.own)
			}
		})
	}
}
