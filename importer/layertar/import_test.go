package layertar

import (
	"archive/tar"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

var modes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

// implied gives the directories that a layer commit records as implied.
func implied(t testing.TB, repo *ostreerepo.Repo, commit objects.Checksum) []string {
	t.Helper()
	c, err := repo.Commit(commit)
	if err != nil {
		t.Fatal(err)
	}
	value, ok := c.Metadata[MetaImplied]
	if !ok {
		return nil
	}
	list, ok := value.AsStrings()
	if !ok {
		t.Fatalf("%s has type %s", MetaImplied, value.Type)
	}
	return list
}

// layerTest says what becomes of an archive.
type layerTest struct {
	name     string
	entries  []entry
	opts     Options
	want     []string // without the root, if that is "d00755 0 0 0 /"
	implied  []string
	filtered map[string]uint32
}

func (tt layerTest) run(t *testing.T, repo *ostreerepo.Repo) {
	commit, stats := land(t, repo, archive(t, tt.entries...), tt.opts)
	got := slices.DeleteFunc(listing(t, repo, commit), func(line string) bool { return strings.Contains(line, " /"+MoreName) })
	if got[0] == "d00755 0 0 0 /" {
		got = got[1:]
	}
	if !slices.Equal(got, tt.want) {
		t.Errorf("listing\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
	}
	if got := implied(t, repo, commit); !slices.Equal(got, tt.implied) {
		t.Errorf("implied %q, want %q", got, tt.implied)
	}
	if !maps.Equal(stats.Filtered, tt.filtered) {
		t.Errorf("filtered %v, want %v", stats.Filtered, tt.filtered)
	}
	if stats.Entries != len(tt.entries) {
		t.Errorf("%d entries, want %d", stats.Entries, len(tt.entries))
	}
}

func runLayerTests(t *testing.T, tests []layerTest) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, repo) })
	}
}

func TestEntries(t *testing.T) {
	root := dir("./")
	runLayerTests(t, []layerTest{
		{name: "empty archive", implied: []string{""}},
		{name: "root only", entries: []entry{dir("./", mode(0o711), owned(5, 6))}, want: []string{"d00711 5 6 0 /"}},
		{
			name: "kinds of names for one directory",
			entries: []entry{
				dir("/"), dir("./usr/"), file("/usr/a", "1"), file("./usr//b", "22"), file("usr/./c", "333"), link("/usr/d", "./usr/a"),
			},
			want: []string{"d00755 0 0 0 /usr", "-00644 0 0 1 /usr/a", "-00644 0 0 2 /usr/b", "-00644 0 0 3 /usr/c", "-00644 0 0 1 /usr/d"},
		},
		{
			name: "owners and modes",
			entries: []entry{
				root, dir("usr", mode(0o1777), owned(1, 2)), file("usr/s", "x", mode(0o6755), owned(1<<32-2, 1000)), file("usr/z", "", mode(0)),
				symlink("usr/l", "s", mode(0o644), owned(7, 8)),
			},
			want: []string{"d01777 1 2 0 /usr", "l00777 7 8 0 /usr/l -> s", "-06755 4294967294 1000 1 /usr/s", "-00000 0 0 0 /usr/z"},
		},
		{
			name:    "symbolic links keep any target",
			entries: []entry{root, symlink("a", "/etc/../../x"), symlink("b", "etc/x"), symlink("c", "nowhere"), symlink("d", "d")},
			want:    []string{"l00777 0 0 0 /a -> /etc/../../x", "l00777 0 0 0 /b -> etc/x", "l00777 0 0 0 /c -> nowhere", "l00777 0 0 0 /d -> d"},
		},
		{
			name:    "implied directories are root's, whoever they are made for",
			entries: []entry{file("usr/lib/a", "x", owned(3, 4)), file("usr/lib/b", "x", owned(5, 6)), dir("usr/bin", owned(9, 9))},
			want: []string{
				"d00755 0 0 0 /usr", "d00755 9 9 0 /usr/bin", "d00755 0 0 0 /usr/lib", "-00644 3 4 1 /usr/lib/a", "-00644 5 6 1 /usr/lib/b",
			},
			implied: []string{"", "usr", "usr/lib"},
		},
		{
			name:    "a directory listed after what is in it",
			entries: []entry{file("usr/a", "x", owned(3, 4)), dir("usr", mode(0o700), owned(1, 1)), dir("./", owned(2, 2))},
			want:    []string{"d00755 2 2 0 /", "d00700 1 1 0 /usr", "-00644 3 4 1 /usr/a"},
		},
		{
			name:    "a directory listed again keeps what is in it",
			entries: []entry{root, dir("usr", xattr("user.a", "1")), file("usr/a", "x"), dir("usr", mode(0o711))},
			want:    []string{"d00711 0 0 0 /usr", "-00644 0 0 1 /usr/a"},
		},
		{
			name:    "a repeated file",
			entries: []entry{root, file("a", "1", mode(0o600)), file("a", "22", mode(0o755))},
			want:    []string{"-00755 0 0 2 /a"},
		},
		{
			name:    "a file, then a directory",
			entries: []entry{root, file("a", "1"), dir("a"), file("a/b", "22")},
			want:    []string{"d00755 0 0 0 /a", "-00644 0 0 2 /a/b"},
		},
		{
			name:    "a directory, then a file",
			entries: []entry{root, dir("a"), file("a/b", "22"), file("a", "1")},
			want:    []string{"-00644 0 0 1 /a"},
		},
		{
			name:    "a file, then something below it",
			entries: []entry{root, file("a", "1"), file("a/b", "22")},
			want:    []string{"d00755 0 0 0 /a", "-00644 0 0 2 /a/b"},
			implied: []string{"a"},
		},
		{
			name:    "a symbolic link, then a directory",
			entries: []entry{root, symlink("a", "b"), dir("b"), dir("a"), file("a/c", "1")},
			want:    []string{"d00755 0 0 0 /a", "-00644 0 0 1 /a/c", "d00755 0 0 0 /b"},
		},
		{
			name:    "a global PAX header",
			entries: []entry{root, {Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}}}, file("a", "1")},
			want:    []string{"-00644 0 0 1 /a"},
		},
		{
			name:    "a long name",
			entries: []entry{root, file(strings.Repeat(strings.Repeat("n", 255)+"/", 3)+"é", "1")},
			want: []string{
				"d00755 0 0 0 /" + strings.Repeat("n", 255), "d00755 0 0 0 /" + strings.Repeat(strings.Repeat("n", 255)+"/", 1) + strings.Repeat("n", 255),
				"d00755 0 0 0 /" + strings.Repeat(strings.Repeat("n", 255)+"/", 2) + strings.Repeat("n", 255),
				"-00644 0 0 1 /" + strings.Repeat(strings.Repeat("n", 255)+"/", 3) + "é",
			},
			implied: []string{strings.Repeat("n", 255), strings.Repeat("n", 255) + "/" + strings.Repeat("n", 255), strings.Repeat(strings.Repeat("n", 255)+"/", 2) + strings.Repeat("n", 255)},
		},
		{
			name:    "special files that are dropped",
			opts:    Options{DropSpecialFiles: true},
			entries: []entry{root, file("a", "1"), special(tar.TypeChar, "usr/c"), special(tar.TypeBlock, "b"), special(tar.TypeFifo, "f")},
			want:    []string{"-00644 0 0 1 /a"}, filtered: map[string]uint32{FilteredSpecial: 3},
		},
	})
}

func TestHardLinks(t *testing.T) {
	root := dir("./")
	runLayerTests(t, []layerTest{
		{
			name:    "share content, owner and mode",
			entries: []entry{root, file("a", "123", mode(0o600), owned(1, 2)), link("b", "a", mode(0o777), owned(9, 9)), link("c", "b")},
			want:    []string{"-00600 1 2 3 /a", "-00600 1 2 3 /b", "-00600 1 2 3 /c"},
		},
		{
			name:    "share a symbolic link",
			entries: []entry{root, symlink("a", "x"), link("b", "a")},
			want:    []string{"l00777 0 0 0 /a -> x", "l00777 0 0 0 /b -> x"},
		},
		{
			name:    "share what the target was then",
			entries: []entry{root, file("a", "1"), link("b", "a"), file("a", "22")},
			want:    []string{"-00644 0 0 2 /a", "-00644 0 0 1 /b"},
		},
		{
			name:    "before their target",
			entries: []entry{root, link("c", "b"), link("b", "a"), link("d", "c"), file("a", "123")},
			want:    []string{"-00644 0 0 3 /a", "-00644 0 0 3 /b", "-00644 0 0 3 /c", "-00644 0 0 3 /d"},
		},
		{
			name:    "to nowhere but replaced later",
			entries: []entry{root, link("b", "nowhere"), file("b", "1"), link("d/x", "nowhere"), file("d", "1")},
			want:    []string{"-00644 0 0 1 /b", "-00644 0 0 1 /d"},
		},
		{
			name:    "between moved directories",
			entries: []entry{root, dir("usr"), dir("etc"), file("etc/a", "1"), link("usr/b", "etc/a"), file("usr/c", "22"), link("etc/d", "/usr/c")},
			want: []string{
				"d00755 0 0 0 /usr", "-00644 0 0 1 /usr/b", "-00644 0 0 2 /usr/c", "d00755 0 0 0 /usr/etc", "-00644 0 0 1 /usr/etc/a", "-00644 0 0 2 /usr/etc/d",
			},
		},
		{
			name:    "to a file that is left out",
			entries: []entry{root, file("run/a", "123"), link("b", "run/a"), link("run/c", "b"), link("run/d", "nowhere")},
			want:    []string{"-00644 0 0 3 /b"}, filtered: map[string]uint32{"a": 1, "c": 1, "d": 1},
		},
		{
			name:    "from aufs",
			entries: []entry{root, dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "123"), link("a", ".wh..wh.plnk/1.2")},
			want:    []string{"-00644 0 0 3 /a"}, filtered: map[string]uint32{".wh..wh.plnk": 2},
		},
		{
			name:    "to itself",
			entries: []entry{root, file("a", "1"), link("a", "a")},
			want:    []string{"-00644 0 0 1 /a"},
		},
	})
}

func TestSymlinkedParents(t *testing.T) {
	root := dir("./")
	runLayerTests(t, []layerTest{
		{
			name:    "relative, absolute and through the root",
			entries: []entry{root, dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib"), symlink("usr/up", "../../.././usr//lib"), symlink("abs", "/lib"), file("lib/a", "1"), file("usr/up/b", "1"), file("abs/c", "1"), link("abs/d", "lib/a")},
			want: []string{
				"l00777 0 0 0 /abs -> /lib", "l00777 0 0 0 /lib -> usr/lib", "d00755 0 0 0 /usr", "l00777 0 0 0 /usr/up -> ../../.././usr//lib", "d00755 0 0 0 /usr/lib",
				"-00644 0 0 1 /usr/lib/a", "-00644 0 0 1 /usr/lib/b", "-00644 0 0 1 /usr/lib/c", "-00644 0 0 1 /usr/lib/d",
			},
		},
		{
			name:    "dangling",
			entries: []entry{root, dir("b"), symlink("a", "b/../c"), file("a/x", "1")},
			want:    []string{"l00777 0 0 0 /a -> b/../c", "d00755 0 0 0 /b", "d00755 0 0 0 /c", "-00644 0 0 1 /c/x"}, implied: []string{"c"},
		},
		{
			name:    "dangling behind what only a lower layer knows",
			entries: []entry{root, symlink("a", "b/../c"), file("a/x", "1")},
			want:    []string{"l00777 0 0 0 /a -> b/../c"},
		},
		{
			name:    "into etc",
			entries: []entry{root, dir("usr"), dir("usr/share"), symlink("usr/share/e", "/etc/e"), file("usr/share/e/x", "1")},
			want: []string{
				"d00755 0 0 0 /usr", "d00755 0 0 0 /usr/etc", "d00755 0 0 0 /usr/etc/e", "-00644 0 0 1 /usr/etc/e/x", "d00755 0 0 0 /usr/share", "l00777 0 0 0 /usr/share/e -> /etc/e",
			},
			implied: []string{"usr/etc", "usr/etc/e"},
		},
		{
			name:    "into what is left out",
			entries: []entry{root, symlink("a", "run/b"), file("a/x", "1")},
			want:    []string{"l00777 0 0 0 /a -> run/b"}, filtered: map[string]uint32{"b": 1},
		},
	})
}

func TestRules(t *testing.T) {
	everything := []entry{
		dir("./"), dir("usr"), dir("etc", mode(0o750)), file("etc/a", "1"), dir("usr/etc"), file("usr/etc/a", "22"), file("usr/etc/b", "22"),
		dir("var"), file("var/a", "1"), dir("opt"), file("opt/a", "1"), file("boot", "1"),
		dir("run", mode(0o711)), dir("run/secrets"), file("run/secrets/x", "1"), file("tmp/t", "1"), symlink("proc", "run"), special(tar.TypeChar, "dev/null"),
		file(".wh.opt2", ""), file("usr/lib/.wh..wh.aufs", ""),
	}
	filtered := map[string]uint32{"secrets": 2, "t": 1, "null": 1, ".wh..wh.aufs": 1}
	onlyUsr := maps.Clone(filtered)
	maps.Copy(onlyUsr, map[string]uint32{"opt": 2, "boot": 1, ".wh.opt2": 1})
	usr := []string{"d00755 0 0 0 /usr", "d00750 0 0 0 /usr/etc", "-00644 0 0 1 /usr/etc/a", "-00644 0 0 2 /usr/etc/b", "d00755 0 0 0 /usr/lib"}
	variable := []string{"d00755 0 0 0 /var", "-00644 0 0 1 /var/a"}
	runLayerTests(t, []layerTest{
		{
			name: "plain", entries: everything, filtered: filtered, implied: []string{"usr/lib"},
			want: slices.Concat([]string{"-00644 0 0 0 /.wh.opt2", "-00644 0 0 1 /boot", "l00777 0 0 0 /proc -> run", "d00755 0 0 0 /opt", "-00644 0 0 1 /opt/a", "d00711 0 0 0 /run"}, usr, variable),
		},
		{
			name: "only usr", opts: Options{Rules: Rules{OnlyUsr: true}}, entries: everything, filtered: onlyUsr, implied: []string{"usr/lib"},
			want: slices.Concat([]string{"l00777 0 0 0 /proc -> run", "d00711 0 0 0 /run"}, usr, variable),
		},
		{
			name: "only usr and factory var", opts: Options{Rules: Rules{OnlyUsr: true, FactoryVar: true}}, entries: everything, filtered: onlyUsr,
			implied: []string{"usr/lib", "usr/share", "usr/share/factory"},
			want: slices.Concat([]string{"l00777 0 0 0 /proc -> run", "d00711 0 0 0 /run"}, usr,
				[]string{"d00755 0 0 0 /usr/share", "d00755 0 0 0 /usr/share/factory", "d00755 0 0 0 /usr/share/factory/var", "-00644 0 0 1 /usr/share/factory/var/a"}),
		},
		{
			name: "etc alone implies usr", entries: []entry{dir("./"), dir("etc", owned(3, 4))},
			want: []string{"d00755 0 0 0 /usr", "d00755 3 4 0 /usr/etc"}, implied: []string{"usr"},
		},
		{
			name: "an implied etc over a listed usr/etc", entries: []entry{dir("./"), dir("usr"), dir("usr/etc", mode(0o700)), file("etc/a", "1")},
			want: []string{"d00755 0 0 0 /usr", "d00755 0 0 0 /usr/etc", "-00644 0 0 1 /usr/etc/a"}, implied: []string{"usr/etc"},
		},
		{
			name: "etc that is a symbolic link", entries: []entry{dir("./"), dir("usr"), dir("usr/etc"), symlink("etc", "usr/etc"), file("etc/a", "1")},
			want: []string{"d00755 0 0 0 /usr", "d00755 0 0 0 /usr/etc", "-00644 0 0 1 /usr/etc/a"},
		},
	})
}

func TestMarkers(t *testing.T) {
	root := dir("./")
	runLayerTests(t, []layerTest{
		{
			name: "are alike whatever the archive says",
			entries: []entry{
				root, dir("usr"), file("usr/.wh.a", "", owned(1, 2), mode(0), xattr("user.x", "1")), file("usr/.wh.b", "content"),
				dir("usr/.wh.c"), symlink("usr/.wh.d", "x"), link("usr/.wh.e", "nowhere"), special(tar.TypeChar, "usr/.wh.f"), file("usr/.wh..wh..opq", ""), file("usr/a", "1"),
			},
			want: []string{
				"d00755 0 0 0 /usr", "-00644 0 0 0 /usr/.wh..wh..opq", "-00644 0 0 0 /usr/.wh.a", "-00644 0 0 0 /usr/.wh.b", "-00644 0 0 0 /usr/.wh.c",
				"-00644 0 0 0 /usr/.wh.d", "-00644 0 0 0 /usr/.wh.e", "-00644 0 0 0 /usr/.wh.f", "-00644 0 0 1 /usr/a",
			},
		},
		{
			name:    "of the top level go where the directory goes",
			opts:    Options{Rules: Rules{FactoryVar: true, OnlyUsr: true}},
			entries: []entry{root, file(".wh.etc", ""), file(".wh.var", ""), file(".wh.usr", ""), file(".wh.run", ""), file(".wh..wh..opq", ""), file("etc/.wh..wh..opq", "")},
			want: []string{
				"-00644 0 0 0 /.wh..wh..opq", "-00644 0 0 0 /.wh.run", "-00644 0 0 0 /.wh.usr", "d00755 0 0 0 /usr", "-00644 0 0 0 /usr/.wh.etc",
				"d00755 0 0 0 /usr/etc", "-00644 0 0 0 /usr/etc/.wh..wh..opq", "d00755 0 0 0 /usr/share", "d00755 0 0 0 /usr/share/factory", "-00644 0 0 0 /usr/share/factory/.wh.var",
			},
			implied: []string{"usr", "usr/etc", "usr/share", "usr/share/factory"},
		},
		{
			// umoci writes them when a file replaces a directory.
			name: "below a file of the same layer have nothing to remove",
			entries: []entry{
				root, dir("usr"), file("usr/a", "1"), file("usr/a/.wh.b", ""), file("usr/a/c/.wh..wh..opq", ""),
				link("usr/h", "usr/a"), file("usr/h/.wh.b", ""), file("usr/d/.wh.b", ""), file("usr/d", "1"),
			},
			want: []string{"d00755 0 0 0 /usr", "-00644 0 0 1 /usr/a", "-00644 0 0 1 /usr/d", "-00644 0 0 1 /usr/h"},
		},
		{
			name:    "below what is left out",
			entries: []entry{root, file("run/.wh.a", ""), file("run/.wh..wh..opq", "")},
			want:    []string{}, filtered: map[string]uint32{".wh.a": 1, ".wh..wh..opq": 1},
		},
	})
}

func TestXattrs(t *testing.T) {
	root := dir("./")
	long := strings.Repeat("v", objects.MaxXattrValue)
	b64 := base64.StdEncoding.EncodeToString([]byte("1"))
	runLayerTests(t, []layerTest{
		{
			name:    "sorted",
			entries: []entry{root, file("a", "", xattr("user.c", "3"), xattr("user.a", "1"), xattr("trusted.b", "2"))},
			want:    []string{"-00644 0 0 0 { [(b'trusted.b', [byte 0x32]), (b'user.a', [0x31]), (b'user.c', [0x33])] } /a"},
		},
		{
			name: "libarchive's spelling",
			entries: []entry{root, file("a", "", pax("LIBARCHIVE.xattr.user.%41%2Ex", b64), pax("LIBARCHIVE.xattr.user.b", strings.TrimRight(b64, "=")),
				pax("LIBARCHIVE.xattr.user.c", b64), xattr("user.c", "2"))},
			want: []string{"-00644 0 0 0 { [(b'user.A.x', [byte 0x31]), (b'user.b', [0x31]), (b'user.c', [0x32])] } /a"},
		},
		{
			name: "left out",
			entries: []entry{root, file("a", "", xattr("security.selinux", "x"), xattr("user.ostreemeta", "x"), xattr("com.apple.x", "x"), xattr("system.nfs4_acl", "x"), pax("SCHILY.acl.access", "x")),
				symlink("l", "x", xattr("user.a", "1"), xattr("trusted.a", "1"))},
			want: []string{"-00644 0 0 0 /a", "l00777 0 0 0 { [(b'trusted.a', [byte 0x31])] } /l -> x"},
		},
		{
			name:    "of directories",
			entries: []entry{dir("./", xattr("user.a", "1")), dir("b", xattr("trusted.c", "1"))},
			want:    []string{"d00755 0 0 0 { [(b'user.a', [byte 0x31])] } /", "d00755 0 0 0 { [(b'trusted.c', [byte 0x31])] } /b"},
		},
	})
	t.Run("the largest", func(t *testing.T) {
		if got, err := xattrs(map[string]string{"SCHILY.xattr.user.a": long}, syscall.S_IFREG); err != nil || len(got) != 1 || string(got[0].Value) != long {
			t.Errorf("%d attributes, %v", len(got), err)
		}
	})
}
