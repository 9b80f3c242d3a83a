package ostreerepo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// stageNested writes a commit with files at /file and /usr/lib/file, and gives the object of each
// path.
func stageNested(t *testing.T, s *ostreerepo.Staging) (c objects.Checksum, paths map[string]string) {
	t.Helper()
	file, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG}, 4, strings.NewReader("file"))
	if err != nil {
		t.Fatal(err)
	}
	deep, err := s.WriteSymlink(objects.FileHeader{Target: "deep"})
	if err != nil {
		t.Fatal(err)
	}
	lib := writeDir(t, s, "lib", 1, objects.DirTree{Files: []objects.TreeFile{{Name: "file", Checksum: deep}}})
	usr := writeDir(t, s, "usr", 2, objects.DirTree{Dirs: []objects.TreeDir{lib}})
	root := writeDir(t, s, "", 3, objects.DirTree{Files: []objects.TreeFile{{Name: "file", Checksum: file}}, Dirs: []objects.TreeDir{usr}})
	if c, err = s.WriteCommit(objects.Commit{Tree: root.Tree, Meta: root.Meta}); err != nil {
		t.Fatal(err)
	}
	return c, map[string]string{
		"/file: ": pathOf(file, "file"), "/usr/lib/file: ": pathOf(deep, "file"),
		"/: ": pathOf(root.Tree, "dirtree"), "/usr/: ": pathOf(usr.Tree, "dirtree"), "/usr/lib/: ": pathOf(lib.Tree, "dirtree"),
		"/ :": pathOf(root.Meta, "dirmeta"), "/usr/ :": pathOf(usr.Meta, "dirmeta"), "/usr/lib/ :": pathOf(lib.Meta, "dirmeta"),
		"commit ": pathOf(c, "commit"),
	}
}

func writeDir(t *testing.T, s *ostreerepo.Staging, name string, uid uint32, tree objects.DirTree) objects.TreeDir {
	t.Helper()
	d := objects.TreeDir{Name: name}
	var err error
	if d.Tree, err = s.WriteDirTree(tree); err != nil {
		t.Fatal(err)
	}
	if d.Meta, err = s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755, UID: uid}); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestComplete misses one object after the other.
func TestComplete(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	c, paths := stageNested(t, s)
	if err := s.Complete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for want, object := range paths {
		t.Run(object[len(object)-8:], func(t *testing.T) {
			path := filepath.Join(stagings(t, repo)[0], "objects", object)
			if err := os.Rename(path, path+".gone"); err != nil {
				t.Fatal(err)
			}
			defer os.Rename(path+".gone", path)
			err := s.Complete(t.Context(), c)
			if !errors.Is(err, ostreerepo.ErrNoObject) || !strings.Contains(err.Error(), strings.Replace(want, " :", ": ", 1)) {
				t.Errorf("%s: got %v", want, err)
			}
		})
	}
	landRef(t, s, "ref", c)
	if err := newStaging(t, repo).Complete(t.Context(), c); err != nil {
		t.Errorf("after landing: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	canceled := errors.New("canceled")
	cancel(canceled)
	if err := s.Complete(ctx, c); !errors.Is(err, canceled) {
		t.Errorf("got %v", err)
	}
}

// TestCompleteBounds wants an end of few objects that make a huge tree.
func TestCompleteBounds(t *testing.T) {
	for name, test := range map[string]struct {
		levels, children int
		name             string
		missing          bool // what is at the bottom
		want             string
	}{
		"wide":         {40, 2, "d", false, "more than 67108864 entries"},
		"deep":         {3000, 1, "d", true, "more than 4096 bytes"},
		"long":         {30, 1, strings.Repeat("d", 200), false, "more than 4096 bytes"},
		"deep and all": {20, 1, strings.Repeat("d", 200), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
			d := writeDir(t, s, "", 0, objects.DirTree{})
			if test.missing {
				d.Tree = objects.ChecksumOf([]byte("missing"))
			}
			for range test.levels {
				var tree objects.DirTree
				for i := range test.children {
					d.Name = fmt.Sprintf("%s%d", test.name, i)
					tree.Dirs = append(tree.Dirs, d)
				}
				d = writeDir(t, s, "", 0, tree)
			}
			c, err := s.WriteCommit(objects.Commit{Tree: d.Tree, Meta: d.Meta})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Complete(t.Context(), c)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 1000) {
				t.Errorf("got %.2000v", err)
			}
		})
	}
}
