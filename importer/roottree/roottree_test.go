package roottree_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

func archive(t testing.TB, source roottree.Source, root objects.TreeDir, w io.Writer, keep roottree.KeepXattr) error {
	t.Helper()
	a := roottree.NewArchive(source, w, keep)
	err := roottree.Walk(t.Context(), source, root, func(e roottree.Entry) error { return a.Add(t.Context(), e) })
	return errors.Join(err, a.Close())
}

// The archive and the directory have what was committed, in every repository mode.
func TestEverythingComesOut(t *testing.T) {
	want := fixture.SampleTree()
	var first []byte
	for _, mode := range fixture.Modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := fixture.NewRepo(t, mode)
			root := commitTree(t, repo, want)

			count, err := roottree.Count(t.Context(), repo, root)
			must(t, err)
			if count != uint64(len(want)) {
				t.Errorf("%d paths are counted, want %d", count, len(want))
			}
			var b bytes.Buffer
			must(t, archive(t, repo, root, &b, nil))
			if first == nil {
				first = bytes.Clone(b.Bytes())
			}
			if !bytes.Equal(b.Bytes(), first) {
				t.Error("the archive has other bytes than that from a repository of another mode")
			}
			got, order := readArchive(t, &b)
			if diff := ocimodel.Diff(want, got); diff != "" {
				t.Errorf("archive: %s", diff)
			}
			if i := slices.Index(order, "usr/lib-x"); order[0] != "" || order[i+1] != "usr/lib.d" || order[i-1] != "usr/lib/new\nline" && order[i-1] != "usr/lib/bücher 😀 \\ * ' \"" {
				t.Errorf("order %q", order)
			}

			dir := t.TempDir()
			steps := 0
			must(t, roottree.Unpack(t.Context(), repo, root, dir, nil, func() { steps++ }))
			got, err = ocimodel.ReadDisk(dir)
			must(t, err)
			if diff := ocimodel.Diff(want, got); diff != "" {
				t.Errorf("directory: %s", diff)
			}
			if steps != len(want) {
				t.Errorf("%d steps, want %d", steps, len(want))
			}
		})
	}
}

// GNU tar unpacks the archive to what it should be.
func TestTarUnpacks(t *testing.T) {
	want := fixture.SampleTree()
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	file, dir := filepath.Join(t.TempDir(), "root.tar"), t.TempDir()
	f, err := os.Create(file)
	must(t, err)
	must(t, archive(t, repo, commitTree(t, repo, want), f, nil))
	must(t, f.Close())
	fixture.MustRun(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", file, "-C", dir)
	got, err := ocimodel.ReadDisk(dir)
	must(t, err)
	if diff := ocimodel.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAddShared(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeArchive)
	file := func(content string) ocimodel.Node {
		return ocimodel.Node{Type: ocimodel.File, Mode: 0o644, Content: []byte(content)}
	}
	link := ocimodel.Node{Type: ocimodel.Symlink, Mode: 0o777, Target: "t"}
	root := commitTree(t, repo, map[string]ocimodel.Node{
		"": {Type: ocimodel.Dir, Mode: 0o755}, "a": file("same"), "b": file("same"), "c": file(""), "d": file(""), "e": link, "f": link, "g": file("same"),
	})
	var b bytes.Buffer
	a := roottree.NewArchive(repo, &b, nil)
	must(t, roottree.Walk(t.Context(), repo, root, func(e roottree.Entry) error { return a.AddShared(t.Context(), e) }))
	must(t, a.Close())
	nodes, order := readArchive(t, &b)
	var got []string
	for _, path := range order[1:] {
		n := nodes[path]
		got = append(got, path+" "+string(n.Type)+" "+n.Target+string(n.Content))
	}
	want := []string{"a file same", "b hard link a", "c file ", "d file ", "e symbolic link t", "f symbolic link t", "g hard link a"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Attributes that are not kept, and those that an archive can't hold, stay out.
func TestKeepXattr(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	nodes := map[string]ocimodel.Node{
		"":  {Type: ocimodel.Dir, Mode: 0o755},
		"f": {Type: ocimodel.File, Mode: 0o644, Xattrs: map[string]string{"user.a": "1", "user.b": "2", "user.x=y": "3"}},
	}
	root := commitTree(t, repo, nodes)
	keep := func(name string) bool { return name != "user.b" }
	var b bytes.Buffer
	must(t, archive(t, repo, root, &b, keep))
	got, _ := readArchive(t, &b)
	if x := got["f"].Xattrs; len(x) != 1 || x["user.a"] != "1" {
		t.Errorf("archive: %q", x)
	}
	dir := t.TempDir()
	must(t, roottree.Unpack(t.Context(), repo, root, dir, keep, nil))
	got, err := ocimodel.ReadDisk(dir)
	must(t, err)
	if x := got["f"].Xattrs; len(x) != 2 || x["user.x=y"] != "3" {
		t.Errorf("directory: %q", x)
	}
}

// Damage is an error that names path and object.
func TestDamage(t *testing.T) {
	nodes := map[string]ocimodel.Node{
		"":      {Type: ocimodel.Dir, Mode: 0o755},
		"d":     {Type: ocimodel.Dir, Mode: 0o700},
		"d/bad": {Type: ocimodel.File, Mode: 0o644, Content: []byte(strings.Repeat("content", 1000))},
	}
	object := func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir, path string) ostreerepo.Found {
		found, err := ostreerepo.Lookup(repo, root.Tree, path)
		must(t, err)
		return found
	}
	remove := func(t *testing.T, repo *ostreerepo.Repo, c objects.Checksum, suffix string) {
		must(t, os.Remove(filepath.Join(repo.Path(), "objects", c.String()[:2], c.String()[2:]+suffix)))
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source
		want   error
		says   string
	}{
		{"changed content", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			name := object(t, repo, root, "d/bad").File.String()
			f, err := os.OpenFile(filepath.Join(repo.Path(), "objects", name[:2], name[2:]+".file"), os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("X"), 3000)
			must(t, err)
			must(t, f.Close())
			return repo
		}, ostreerepo.ErrCorrupted, "/d/bad"},
		{"less than was said", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			return wrongSource{repo, object(t, repo, root, "d/bad").File, 5}
		}, ostreerepo.ErrCorrupted, "/d/bad"},
		{"more than was said", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			return wrongSource{repo, object(t, repo, root, "d/bad").File, -5}
		}, ostreerepo.ErrCorrupted, "/d/bad"},
		{"missing file", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			remove(t, repo, object(t, repo, root, "d/bad").File, ".file")
			return repo
		}, ostreerepo.ErrNoObject, "/d/bad"},
		{"missing dirmeta", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			remove(t, repo, object(t, repo, root, "d").Dir.Meta, ".dirmeta")
			return repo
		}, ostreerepo.ErrNoObject, "/d:"},
		{"missing dirtree", func(t *testing.T, repo *ostreerepo.Repo, root objects.TreeDir) roottree.Source {
			remove(t, repo, object(t, repo, root, "d").Dir.Tree, ".dirtree")
			return repo
		}, ostreerepo.ErrNoObject, "/d:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
			root := commitTree(t, repo, nodes)
			source := test.damage(t, repo, root)
			for what, err := range map[string]error{
				"archive": archive(t, source, root, io.Discard, nil), "unpack": roottree.Unpack(t.Context(), source, root, t.TempDir(), nil, nil),
			} {
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// Few objects can describe a tree without end.
func TestBounds(t *testing.T) {
	n, err := roottree.Count(t.Context(), bomb{10}, objects.TreeDir{Tree: bombLevel(0)})
	if err != nil || n != 1<<11-1 {
		t.Errorf("%d paths, %v", n, err)
	}
	if _, err := roottree.Count(t.Context(), bomb{200}, objects.TreeDir{Tree: bombLevel(0)}); err == nil || !strings.Contains(err.Error(), "more than 16777216") {
		t.Errorf("a tree of 2^200 paths: %v", err)
	}
	if _, err := roottree.Count(t.Context(), chain{}, objects.TreeDir{Tree: objects.Checksum{1}}); err == nil || !strings.Contains(err.Error(), "4096 bytes") {
		t.Errorf("an endless path: %v", err)
	}
}

func TestCanceled(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	root := commitTree(t, repo, fixture.SampleTree())
	ctx, cancel := context.WithCancelCause(t.Context())
	visited := 0
	err := roottree.Walk(ctx, repo, root, func(roottree.Entry) error {
		if visited++; visited == 3 {
			cancel(errStop)
		}
		return nil
	})
	if !errors.Is(err, errStop) || visited > 3 {
		t.Errorf("walk: %v after %d paths", err, visited)
	}
	if _, err := roottree.Count(ctx, repo, root); !errors.Is(err, errStop) {
		t.Errorf("count: %v", err)
	}
	if err := roottree.Unpack(ctx, repo, root, t.TempDir(), nil, nil); !errors.Is(err, errStop) {
		t.Errorf("unpack: %v", err)
	}
}
