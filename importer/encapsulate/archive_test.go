package encapsulate_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// entries lists the archive of a layer: type, mode, owner, size, name, target, and the xattrs'
// names.
func entries(t testing.TB, archive []byte) (lines []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		check(t, err)
		line := fmt.Sprintf("%c %o %d:%d %d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Name)
		if h.Linkname != "" {
			line += " > " + h.Linkname
		}
		for _, name := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if strings.HasPrefix(name, "SCHILY.") {
				line += " " + name
			}
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s: %v %s %s", h.Name, h.ModTime, h.Uname, h.Gname)
		}
		lines = append(lines, line)
	}
}

// plumbing is what every layer has to begin with.
func plumbing() (lines []string) {
	add := func(names ...string) {
		for _, name := range names {
			lines = append(lines, "5 755 0:0 0 "+name)
		}
	}
	add("sysroot", "sysroot/ostree", "sysroot/ostree/repo", "sysroot/ostree/repo/objects")
	for i := range 256 {
		add(fmt.Sprintf("sysroot/ostree/repo/objects/%02x", i))
	}
	for _, name := range []string{"extensions", "refs", "refs/heads", "refs/mirrors", "refs/remotes", "state", "tmp", "tmp/cache"} {
		add("sysroot/ostree/repo/" + name)
	}
	return append(lines, "0 644 0:0 45 sysroot/ostree/repo/config")
}

// object describes the entry of a metadata object.
func object(t testing.TB, repo *ostreerepo.Repo, c objects.Checksum, kind objects.Kind) string {
	t.Helper()
	name := "objects/" + c.String()[:2] + "/" + c.String()[2:] + "." + string(kind)
	info, err := os.Stat(repo.Path() + "/" + name)
	check(t, err)
	return fmt.Sprintf("0 644 0:0 %d sysroot/ostree/repo/%s", info.Size(), name)
}

// TestArchive wants the entries in the order that the format demands.
func TestArchive(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{
		"usr/etc/file":  {content: "etc", uid: 1, gid: 2, xattrs: map[string]string{"user.a": "1", "security.selinux": selinux}},
		"usr/etc/again": {content: "etc", uid: 1, gid: 2, xattrs: map[string]string{"user.a": "1", "security.selinux": selinux}},
		"usr/empty":     {mode: 0o4755, xattrs: map[string]string{"user.b": "2"}},
		"usr/link":      {target: "a//b"},
		"sysroot/file":  {content: "hidden"},
	}, "--owner-uid=5", "--owner-gid=6")
	commit, err := repo.Commit(c)
	check(t, err)
	root, err := repo.DirTree(commit.Tree)
	check(t, err)
	usr, err := repo.DirTree(root.Dirs[1].Tree)
	check(t, err)
	if root.Dirs[0].Name != "sysroot" || root.Dirs[1].Name != "usr" {
		t.Fatalf("%v", root)
	}

	want := slices.Concat([]string{"5 755 5:6 0 ./"}, plumbing(), []string{
		object(t, repo, c, objects.KindCommit), object(t, repo, c, objects.KindCommitMeta),
		object(t, repo, commit.Meta, objects.KindDirMeta), object(t, repo, commit.Tree, objects.KindDirTree),
		object(t, repo, root.Dirs[0].Tree, objects.KindDirTree), // sysroot: no entry
		"5 755 5:6 0 ./usr", object(t, repo, root.Dirs[1].Tree, objects.KindDirTree),
		"5 755 5:6 0 ./etc", object(t, repo, usr.Dirs[0].Tree, objects.KindDirTree),
		"5 1777 0:0 0 var/tmp",
	})
	var contents []string
	for _, f := range slices.SortedFunc(slices.Values(slices.Concat(usr.Files, root.Files, dirFiles(t, repo, usr.Dirs[0].Tree)[:1], dirFiles(t, repo, root.Dirs[0].Tree))),
		func(a, b objects.TreeFile) int { return bytes.Compare(a.Checksum[:], b.Checksum[:]) }) {
		name := "sysroot/ostree/repo/objects/" + f.Checksum.String()[:2] + "/" + f.Checksum.String()[2:] + ".file"
		h, r, err := repo.OpenFile(f.Checksum)
		check(t, err)
		check(t, r.Close())
		contents = append(contents, fmt.Sprintf("0 644 0:0 %d %s-xattrs-link", len(h.Xattrs.Marshal()), name))
		switch f.Name {
		case "empty":
			contents = append(contents, "0 4755 5:6 0 "+name+" SCHILY.xattr.user.b", "0 4755 5:6 0 usr/empty SCHILY.xattr.user.b")
		case "link":
			contents = append(contents, "2 777 5:6 0 "+name+" > a//b", "1 777 5:6 0 usr/link > "+name)
		case "again":
			contents = append(contents, "0 644 5:6 3 "+name+" SCHILY.xattr.user.a", "1 644 5:6 0 etc/again > "+name, "1 644 5:6 0 etc/file > "+name)
		case "file":
			contents = append(contents, "0 644 5:6 6 "+name)
		}
	}

	dir := t.TempDir()
	single := write(t, repo, c, dir+"/single", encapsulate.Options{SingleLayer: true})
	compare(t, entries(t, uncompressed(t, dir+"/single", single.Layers[0])), slices.Concat(want, contents))
	parted := write(t, repo, c, dir+"/parted", encapsulate.Options{MaxLayers: 2})
	compare(t, entries(t, uncompressed(t, dir+"/parted", parted.Layers[0])), want)
	compare(t, entries(t, uncompressed(t, dir+"/parted", parted.Layers[1])), slices.Concat(plumbing(), contents))
}

// dirFiles gives the files of a directory.
func dirFiles(t testing.TB, repo *ostreerepo.Repo, c objects.Checksum) []objects.TreeFile {
	t.Helper()
	tree, err := repo.DirTree(c)
	check(t, err)
	return tree.Files
}

// compare shows where two lists begin to differ.
func compare(t testing.TB, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("entry %d:\n%s\ninstead of\n%s", i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			return
		}
	}
}

// TestUnpack has umoci unpack an image, and wants what ostree checks out, except for /etc and
// /sysroot.
func TestUnpack(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeBare, system())
	dir := t.TempDir()
	write(t, repo, c, dir+"/layout:tag", encapsulate.Options{MaxLayers: 10})
	run(t, "skopeo", "copy", "--insecure-policy", "oci:"+dir+"/layout:tag", "dir:"+dir+"/copy")
	run(t, "umoci", "unpack", "--image", dir+"/layout:tag", dir+"/bundle")
	rootfs, out := dir+"/bundle/rootfs", dir+"/checkout"
	run(t, "ostree", "--repo="+repo.Path(), "checkout", c.String(), out)

	check(t, os.Rename(out+"/usr/etc", out+"/etc"))
	check(t, os.RemoveAll(out+"/sysroot"))
	check(t, os.RemoveAll(rootfs+"/sysroot"))
	check(t, os.RemoveAll(rootfs+"/var")) // there is none in the commit
	const describe = `cd "$0" && find . -printf '%p %y %m %U:%G %l\n' | sed 's/ d [0-7]* / d /' | sort && find . -type f -exec sha256sum {} + | sort -k 2 && ` +
		`find . ! -name eq -print0 | sort -z | xargs -0 getfattr -h -d -m 'user|trusted|security.capability' -e hex` // an archive can't hold eq's
	got, want := run(t, "sh", "-c", describe, rootfs), run(t, "sh", "-c", describe, out)
	compare(t, strings.Split(got, "\n"), strings.Split(want, "\n"))
}
