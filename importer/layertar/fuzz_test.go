package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// FuzzImport imports archives that anybody may have made. An import either says what is wrong or
// gives a commit whose whole tree is there, and the same one again.
func FuzzImport(f *testing.F) {
	f.Add(archive(f, dir("./"), dir("usr", xattr("user.a", "1")), file("usr/a", "1"), link("usr/b", "usr/a"), symlink("lib", "usr")), false, false, false)
	f.Add(archive(f, file("etc/.wh.a", ""), file("var/.wh..wh..opq", ""), symlink("a", "../run"), file("a/b", "1")), true, true, false)
	f.Add(archive(f, special(tar.TypeChar, "dev/null"), special(tar.TypeFifo, "f"), link("a", "b"), link("b", "a")), false, false, true)
	f.Add(archive(f, file(".wh..wh.plnk/1", "x"), link("a", ".wh..wh.plnk/1"), file("tmp/x", "y"), link("b", "tmp/x")), false, true, false)
	f.Add(archive(f, file("etc", ""), file("usr/etc/x/y", ""), file("etc/x", "", pax("LIBARCHIVE.xattr.user.a", "MQ"))), true, false, false)
	f.Add(archive(f, link("usr/b", object, changed), file(object, "1", changed), link("etc/a", object, changed), link("usr/c", "etc/a")), true, true, false)
	repo := newRepo(f, ostreerepo.ModeBareUser)
	st, err := repo.NewStaging()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { st.Close() })
	f.Fuzz(func(t *testing.T, data []byte, factoryVar, onlyUsr, drop bool) {
		data = withChecksums(data)
		rules := Rules{FactoryVar: factoryVar, OnlyUsr: onlyUsr}
		importTwice(t, st, data, Options{Rules: rules, DropSpecialFiles: drop})
		rules.SysrootLinks = true
		importTwice(t, st, data, Options{Rules: rules, DropSpecialFiles: drop, Labels: pathLabels{}})
	})
}

func importTwice(t *testing.T, st *ostreerepo.Staging, data []byte, opts Options) {
	run := func() (objects.Checksum, error) {
		commit, _, err := Import(context.Background(), st, bytes.NewReader(data), layerOf(data, data), opts)
		return commit, err
	}
	first, err := run()
	if err != nil {
		var entryErr *EntryError
		if !errors.As(err, &entryErr) && !blob.IsDamage(err) {
			t.Fatalf("an error of no known kind: %v", err)
		}
		return
	}
	commit, err := st.Commit(first)
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, st, commit.Tree, commit.Meta)
	if second, err := run(); err != nil || second != first {
		t.Fatalf("commit %s, and the second time %s, %v", first, second, err)
	}
}

// withChecksums gives what looks like a header the right checksum, without which mutated headers
// would get nowhere.
func withChecksums(data []byte) []byte {
	data = bytes.Clone(data)
	for block := data; len(block) >= 512; block = block[512:] {
		if string(block[257:262]) != "ustar" {
			continue
		}
		copy(block[148:156], "        ")
		sum := 0
		for _, b := range block[:512] {
			sum += int(b)
		}
		copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return data
}

func checkTree(t *testing.T, st *ostreerepo.Staging, treeSum, metaSum objects.Checksum) {
	if _, err := st.DirMeta(metaSum); err != nil {
		t.Fatal(err)
	}
	tree, err := st.DirTree(treeSum)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tree.Files {
		if file.Checksum.IsZero() || isAufs(file.Name) && !strings.HasPrefix(file.Name, MoreName) {
			t.Fatalf("the file %q with checksum %s", file.Name, file.Checksum)
		}
	}
	for _, dir := range tree.Dirs {
		if isMarker(dir.Name) || isAufs(dir.Name) {
			t.Fatalf("the directory %q", dir.Name)
		}
		checkTree(t, st, dir.Tree, dir.Meta)
	}
}
