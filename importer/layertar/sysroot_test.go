package layertar

import (
	"archive/tar"
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// changed says that an entry is none of the commit's.
func changed(e *entry) { e.ModTime = time.Unix(1, 0) }

// object is the path of an object in the repository that an image with an encapsulated commit has.
const object = "sysroot/ostree/repo/objects/ab/cdef.file"

func TestSysrootLinks(t *testing.T) {
	root, base := dir("./"), Options{Rules: Rules{SysrootLinks: true, OnlyUsr: true}}
	whole := Options{Rules: Rules{SysrootLinks: true}}
	left := func(n uint32) map[string]uint32 { return map[string]uint32{"sysroot": n} }
	usr := "d00755 0 0 0 /usr"
	real := []string{usr, "-00600 1 2 3 { [(b'user.a', [byte 0x31])] } /usr/f"}
	realFile := file(object, "123", changed, mode(0o600), owned(1, 2), xattr("user.a", "1"))
	realLink := link("usr/f", object, changed, mode(0o777), owned(9, 9))
	runLayerTests(t, []layerTest{
		{name: "the link is the file", opts: base, entries: []entry{root, dir("usr"), realFile, realLink}, want: real},
		{name: "the link is the file, with the whole root", opts: whole, entries: []entry{root, dir("usr"), realFile, realLink}, want: real},
		{name: "the link comes first", opts: whole, entries: []entry{root, dir("usr"), realLink, realFile}, want: real},
		{
			name: "absolute and odd names", opts: whole,
			entries: []entry{root, dir("usr"), file("/"+object, "1", changed), link("usr/a", "/"+object, changed), link("./usr/b", "./"+object, changed), link("/usr/c", "//sysroot/./ostree/repo/objects/ab/cdef.file", changed)},
			want:    []string{usr, "-00644 0 0 1 /usr/a", "-00644 0 0 1 /usr/b", "-00644 0 0 1 /usr/c"},
		},
		{
			name: "more links share", opts: base,
			entries: []entry{root, dir("usr"), file(object, "1", changed), link("usr/a", object, changed), link("usr/b", object, changed), link("usr/c", "usr/a", changed), link("usr/d", "usr/b")},
			want:    []string{usr, "-00644 0 0 1 /usr/a", "-00644 0 0 1 /usr/b", "-00644 0 0 1 /usr/c", "-00644 0 0 1 /usr/d"},
		},
		{
			name: "in etc", opts: base, entries: []entry{root, dir("etc"), file(object, "1", changed), link("etc/a", object, changed)},
			want: []string{usr, "d00755 0 0 0 /usr/etc", "-00644 0 0 1 /usr/etc/a"}, implied: []string{"usr"},
		},
		{
			name: "an object that nothing links to is counted", opts: whole, entries: []entry{root, file(object, "1", changed)},
			want: []string{}, filtered: left(1),
		},
		{
			name: "links without their object are counted", opts: base,
			entries: []entry{root, dir("usr"), link("usr/a", object, changed), link("usr/b", "/"+object, changed), link("usr/run", object+"x", changed), file("usr/run", "1")},
			want:    []string{usr, "-00644 0 0 1 /usr/run"}, filtered: left(2),
		},
		{
			name: "links without their object, elsewhere", opts: base,
			entries: []entry{root, link("run/a", object, changed), link("opt/a", object, changed)},
			want:    []string{}, filtered: map[string]uint32{"a": 1, "opt": 1},
		},
		{
			name: "an object of the commit stands for its links", opts: whole, entries: []entry{root, file(object, "1"), dir("usr"), link("usr/a", object)},
			want: []string{usr, "-00644 0 0 1 /usr/a"},
		},
		{
			name: "an object of the commit that nothing links to", opts: whole, entries: []entry{root, file(object, "1")}, want: []string{},
		},
		{
			name: "links in the repository", opts: whole,
			entries: []entry{root, dir("usr"), file("usr/f", "1", changed), link(object, "usr/f", changed), link("usr/g", object, changed), link(object+"x", object+"y", changed)},
			want:    []string{usr, "-00644 0 0 1 /usr/f", "-00644 0 0 1 /usr/g"},
		},
		{
			name: "directories of the repository", opts: whole,
			entries: []entry{root, dir("sysroot"), dir("sysroot/ostree", changed), dir("sysroot/ostree/repo/objects/ab", changed), dir("sysroot/mine", changed)},
			want:    []string{"d00755 0 0 0 /sysroot", "d00755 0 0 0 /sysroot/mine"},
		},
		{
			name: "an object of the commit, only usr", opts: base, entries: []entry{root, file(object, "1"), dir("usr"), link("usr/a", object, changed)},
			want: []string{usr, "-00644 0 0 1 /usr/a"},
		},
		{
			name: "what else is in the repository", opts: base,
			entries: []entry{root, dir("sysroot", changed), dir("sysroot/ostree/repo/objects/ab", changed), symlink("sysroot/ostree/repo/refs", "x", changed), file("sysroot/ostree/repo/objects/ab/.wh.x", "", changed), link(object, object+"x", changed)},
			want:    []string{}, filtered: left(5),
		},
		{
			name: "a plain image has a sysroot like any other directory", opts: Options{},
			entries: []entry{root, dir("usr"), dir("sysroot"), dir("sysroot/ostree"), file("sysroot/ostree/repo/x", "1", changed), link("usr/a", "sysroot/ostree/repo/x", changed)},
			want:    []string{"d00755 0 0 0 /sysroot", "d00755 0 0 0 /sysroot/ostree", "d00755 0 0 0 /sysroot/ostree/repo", "-00644 0 0 1 /sysroot/ostree/repo/x", usr, "-00644 0 0 1 /usr/a"},
			implied: []string{"sysroot/ostree/repo"},
		},
	})
}

// TestSysrootLinkErrors wants links that are no file of the commit's to fail as others do.
func TestSysrootLinkErrors(t *testing.T) {
	tests := []struct {
		name    string
		opts    Options
		entries []entry
		entry   string
	}{
		{"not changed", Options{Rules: Rules{SysrootLinks: true}}, []entry{link("usr/a", object)}, `"usr/a"`},
		{"not in the repository", Options{Rules: Rules{SysrootLinks: true}}, []entry{link("usr/a", "sysroot/ostree/x", changed)}, `"usr/a"`},
		{"the repository itself", Options{Rules: Rules{SysrootLinks: true}}, []entry{link("usr/a", "sysroot/ostree/repo", changed)}, `"usr/a"`},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := archive(t, tt.entries...)
			_, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), tt.opts)
			if err == nil || !strings.Contains(err.Error(), "entry "+tt.entry) || !strings.Contains(err.Error(), "which is not in this layer") {
				t.Errorf("Import = %v", err)
			}
		})
	}
	t.Run("an object that can't be imported", func(t *testing.T) {
		data := archive(t, newEntry(tar.TypeReg, object, "", "", 0o644, []option{changed, owned(1<<32-1, 0)}))
		_, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{Rules: Rules{SysrootLinks: true}})
		if err == nil || !strings.Contains(err.Error(), object) {
			t.Errorf("Import = %v", err)
		}
	})
}

// TestSysrootLinksAreLabeled wants the file to have the label of the link's path.
func TestSysrootLinksAreLabeled(t *testing.T) {
	data := archive(t, file(object, "1", changed, xattr("user.a", "1")), link("etc/a", object, changed), link("usr/b", object, changed))
	repo := newRepo(t, ostreerepo.ModeBare)
	commit, _ := land(t, repo, data, Options{Rules: Rules{SysrootLinks: true}, Labels: pathLabels{}})
	got := labeledEntries(t, repo, commit)
	for _, path := range []string{"/usr/etc/a", "/usr/b"} {
		if want := (labeledEntry{syscall.S_IFREG, labelOf(path, syscall.S_IFREG), `user.a="1" `}); got[path] != want {
			t.Errorf("%s is %+v, want %+v", path, got[path], want)
		}
	}
}
