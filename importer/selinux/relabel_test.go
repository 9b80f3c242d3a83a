package selinux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// mixed writes a tree with contents and extended attributes. labels are what its files have before.
func mixed(t testing.TB, st *ostreerepo.Staging, labels map[string]string) objects.TreeDir {
	t.Helper()
	b := &builder{TB: t, st: st}
	xattrs := func(path string, more ...objects.Xattr) objects.Xattrs {
		if label, ok := labels[path]; ok {
			more = append(more, objects.Xattr{Name: XattrName, Value: []byte(label)})
		}
		return more
	}
	write := func(path, content string, mode uint32, more ...objects.Xattr) objects.TreeFile {
		h := objects.FileHeader{UID: 1, GID: 2, Mode: mode, Xattrs: xattrs(path, more...)}
		c := b.must(st.WriteFile(h, int64(len(content)), strings.NewReader(content)))
		return objects.TreeFile{Name: path[strings.LastIndexByte(path, '/')+1:], Checksum: c}
	}
	meta := func(path string, more ...objects.Xattr) objects.Checksum {
		return b.must(st.WriteDirMeta(objects.DirMeta{UID: 3, GID: 4, Mode: dir, Xattrs: xattrs(path, more...)}))
	}
	link := b.must(st.WriteSymlink(objects.FileHeader{Mode: symlink, Target: "/x", Xattrs: xattrs("/a/link")}))
	a := objects.DirTree{Files: []objects.TreeFile{
		write("/a/.wh.gone", "", file),
		write("/a/caps", "with attributes", 0o104755, objects.Xattr{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}, objects.Xattr{Name: "user.z", Value: []byte("z")}),
		write("/a/just-small", strings.Repeat("s", 1<<20), file),
		write("/a/large", strings.Repeat("0123456789", 300_000), file),
		{Name: "link", Checksum: link},
	}}
	slices.SortFunc(a.Files, func(x, y objects.TreeFile) int { return strings.Compare(x.Name, y.Name) })
	plain := objects.DirTree{Files: []objects.TreeFile{write("/b/file", "plain", file)}}
	root := objects.DirTree{Dirs: []objects.TreeDir{
		{Name: "a", Tree: b.must(st.WriteDirTree(a)), Meta: meta("/a", objects.Xattr{Name: "user.dir", Value: []byte("d")})},
		{Name: "b", Tree: b.must(st.WriteDirTree(plain)), Meta: meta("/b")},
	}}
	return objects.TreeDir{Name: "whatever", Tree: b.must(st.WriteDirTree(root)), Meta: meta("/")}
}

// contents reads what a tree has beside labels.
func contents(t testing.TB, st *ostreerepo.Staging, tree objects.TreeDir) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(d objects.TreeDir, at string)
	walk = func(d objects.TreeDir, at string) {
		m, err := st.DirMeta(d.Meta)
		if err != nil {
			t.Fatal(err)
		}
		m.Xattrs = (*label)(nil).replace(m.Xattrs)
		all[at] = fmt.Sprint(m)
		entries, err := st.DirTree(d.Tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range entries.Files {
			h, content, err := st.OpenFile(f.Checksum)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(content)
			if err := errors.Join(err, content.Close()); err != nil {
				t.Fatal(err)
			}
			h.Xattrs = (*label)(nil).replace(h.Xattrs)
			all[path.Join(at, f.Name)] = fmt.Sprint(h, objects.ChecksumOf(text))
		}
		for _, child := range entries.Dirs {
			walk(child, path.Join(at, child.Name))
		}
	}
	walk(tree, "/")
	return all
}

// TestRelabel relabels in each mode what has labels of all sorts, and lands it.
func TestRelabel(t *testing.T) {
	before := map[string]string{
		"/": "root\x00", "/a": "directory\x00", "/a/caps": "old\x00", "/a/link": "other", "/b": "old\x00", "/b/file": "default", "/a/.wh.gone": "old\x00",
	}
	after := map[string]string{
		"/": "root\x00", "/a": "directory\x00", "/a/caps": "first\x00", "/a/just-small": "first\x00", "/a/large": "large\x00", "/a/link": "other\x00",
		"/a/.wh.gone": "first\x00", "/b": "", "/b/file": "default\x00",
	}
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			p := load(t, repo, policyDir(t, base("/a -d directory", "/a/.* first", "/a/.* -l other", "/a/l.* -- large", "/b -d <<none>>")))
			st := staging(t, repo)
			tree := mixed(t, st, before)
			got, stats, err := Relabel(t.Context(), st, tree, p, "/")
			if err != nil {
				t.Fatal(err)
			}
			if want := (Stats{Entries: 9, Relabelled: 7}); stats != want || got.Name != tree.Name {
				t.Errorf("%+v of %q, want %+v", stats, got.Name, want)
			}
			checkLabels(t, labels(t, st, got), after)
			if was, is := contents(t, st, tree), contents(t, st, got); !maps.Equal(was, is) {
				t.Errorf("more than labels changed:\n%v\n%v", was, is)
			}
			again, stats, err := Relabel(t.Context(), st, got, p, "/")
			if err != nil || again != got || stats.Relabelled != 0 {
				t.Errorf("once more: %v, %+v, %v", again == got, stats, err)
			}
			fromOther, _, err := Relabel(t.Context(), st, mixed(t, st, nil), p, "/")
			if err != nil || fromOther != got {
				t.Errorf("a tree without labels becomes another: %v", err)
			}
			c := (&builder{TB: t, st: st}).must(st.WriteCommit(objects.Commit{Tree: got.Tree, Meta: got.Meta}))
			if err := errors.Join(st.SetRef("relabelled", c), st.Land(t.Context()), repo.Fsck(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkLabels(t *testing.T, got map[string]labelled, want map[string]string) {
	t.Helper()
	for path, label := range want {
		if g, ok := got[path]; !ok || g.label != label {
			t.Errorf("%s has the label %q, want %q", path, g.label, label)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

// TestRelabelPaths leaves markers without a label, and has paths begin elsewhere than at the root.
func TestRelabelPaths(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	p := load(t, repo, policyDir(t, base("/a/.* below-a", "/usr/a/.* below-usr")))
	st := staging(t, repo)
	tree := mixed(t, st, map[string]string{"/a/.wh.gone": "old\x00"})
	layer, _, err := RelabelLayer(t.Context(), st, tree, p)
	if err != nil {
		t.Fatal(err)
	}
	inLayer := labels(t, st, layer)
	inUsr, _, err := Relabel(t.Context(), st, tree, p, "/usr")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		"/": {"root\x00", "default\x00"}, "/a/caps": {"below-a\x00", "below-usr\x00"}, "/a/.wh.gone": {"", "below-usr\x00"},
	} {
		if got := inLayer[path].label; got != want[0] {
			t.Errorf("%s of a layer: %q, want %q", path, got, want[0])
		}
		if got := labels(t, st, inUsr)[path].label; got != want[1] {
			t.Errorf("%s below /usr: %q, want %q", path, got, want[1])
		}
	}
}

func TestRelabelErrors(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	p := load(t, repo, policyDir(t, base()))
	st := staging(t, repo)
	b := &builder{TB: t, st: st}
	meta := b.must(st.WriteDirMeta(objects.DirMeta{Mode: dir}))
	tree := func(d objects.DirTree) objects.TreeDir {
		return objects.TreeDir{Tree: b.must(st.WriteDirTree(d)), Meta: meta}
	}
	deep := tree(objects.DirTree{})
	for range 17 {
		deep.Name = strings.Repeat("d", 250)
		deep = tree(objects.DirTree{Dirs: []objects.TreeDir{deep}})
	}
	wide := tree(objects.DirTree{})
	for range 9 { // 1000^9 paths
		var d objects.DirTree
		for i := range 1000 {
			wide.Name = fmt.Sprintf("%03d", i)
			d.Dirs = append(d.Dirs, wide)
		}
		wide = tree(d)
	}
	cause := errors.New("enough")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	ending, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	tests := []struct {
		name string
		ctx  context.Context
		tree objects.TreeDir
		is   error
		want string
	}{
		{"no file", t.Context(), tree(objects.DirTree{Files: []objects.TreeFile{{Name: "x", Checksum: objects.Checksum{1}}}}), ostreerepo.ErrNoObject, `"/x"`},
		{"no directory", t.Context(), tree(objects.DirTree{Dirs: []objects.TreeDir{{Name: "x", Tree: objects.Checksum{1}, Meta: meta}}}), ostreerepo.ErrNoObject, `"/x"`},
		{"no metadata", t.Context(), objects.TreeDir{Tree: deep.Tree, Meta: objects.Checksum{1}}, nil, "relabel"},
		{"long paths", t.Context(), deep, nil, "more than 4096 bytes"},
		{"canceled", canceled, mixed(t, st, nil), cause, "enough"},
		{"canceled in an endless tree", ending, wide, context.DeadlineExceeded, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Relabel(tt.ctx, st, tt.tree, p, "/")
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 600 {
				t.Errorf("error %v", err)
			}
		})
	}
}

// BenchmarkLabel labels the paths of this machine by Debian's policy.
func BenchmarkLabel(b *testing.B) {
	repo := newRepo(b, ostreerepo.ModeBareUser)
	p := load(b, repo, realPolicy(b, unchanged))
	all := hostPaths(b, 20_000)
	names := slices.Sorted(maps.Keys(all))
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		p.Label(names[i%len(names)], all[names[i%len(names)]])
	}
}

func BenchmarkLoad(b *testing.B) {
	repo := newRepo(b, ostreerepo.ModeBareUser)
	tree := commitDir(b, repo, realPolicy(b, unchanged))
	b.Run("Load", func(b *testing.B) {
		for b.Loop() {
			if _, err := Load(b.Context(), repo, tree.Tree); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ID", func(b *testing.B) {
		for b.Loop() {
			if _, err := ID(b.Context(), repo, tree.Tree); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRelabel relabels 10,000 files of 8 KiB each in 500 directories: all of them, and then
// none.
func BenchmarkRelabel(b *testing.B) {
	repo := newRepo(b, ostreerepo.ModeBare)
	p := load(b, repo, realPolicy(b, unchanged))
	st := staging(b, repo)
	w := &builder{TB: b, st: st}
	meta := w.must(st.WriteDirMeta(objects.DirMeta{Mode: dir}))
	root := objects.DirTree{}
	for i := range 500 {
		var d objects.DirTree
		for k := range 20 {
			content := strings.Repeat(fmt.Sprintf("%08d", i*1000+k), 1024)
			c := w.must(st.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o755}, int64(len(content)), strings.NewReader(content)))
			d.Files = append(d.Files, objects.TreeFile{Name: fmt.Sprintf("file%02d", k), Checksum: c})
		}
		root.Dirs = append(root.Dirs, objects.TreeDir{Name: fmt.Sprintf("dir%03d", i), Tree: w.must(st.WriteDirTree(d)), Meta: meta})
	}
	tree := objects.TreeDir{Tree: w.must(st.WriteDirTree(root)), Meta: meta}
	c := w.must(st.WriteCommit(objects.Commit{Tree: tree.Tree, Meta: tree.Meta}))
	if err := errors.Join(st.SetRef("plain", c), st.Land(b.Context())); err != nil {
		b.Fatal(err)
	}
	var labelled objects.TreeDir
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			fresh, err := repo.NewStaging()
			if err != nil {
				b.Fatal(err)
			}
			if labelled, _, err = Relabel(b.Context(), fresh, tree, p, "/usr/lib"); err != nil {
				b.Fatal(err)
			}
			if err := fresh.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	if _, _, err := Relabel(b.Context(), st, tree, p, "/usr/lib"); err != nil {
		b.Fatal(err)
	}
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			if _, stats, err := Relabel(b.Context(), st, labelled, p, "/usr/lib"); err != nil || stats.Relabelled != 0 {
				b.Fatal(stats, err)
			}
		}
	})
}
