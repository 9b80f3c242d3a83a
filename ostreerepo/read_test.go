package ostreerepo_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// objectFile returns the only file that the pattern names below objects/.
func objectFile(t *testing.T, repo *ostreerepo.Repo, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repo.Path(), "objects", pattern))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	return paths[0]
}

func pathOf(c objects.Checksum, suffix string) string {
	return c.String()[:2] + "/" + c.String()[2:] + "." + suffix
}

func TestDamagedMetadata(t *testing.T) {
	repo, c := repoWithRefs(t, "ref")
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	path := objectFile(t, repo, pathOf(commit.Tree, "dirtree"))
	another := objects.DirTree{Files: []objects.TreeFile{{Name: "evil", Checksum: c}}}.Marshal()
	for _, test := range []struct {
		name   string
		damage func(path string) error
		text   string // in the error
	}{
		{"another", func(path string) error { return os.WriteFile(path, another, 0o644) }, "its checksum is"},
		{"cut", func(path string) error { return os.Truncate(path, 10) }, "its checksum is"},
		{"empty", func(path string) error { return os.Truncate(path, 0) }, "its checksum is"},
		{"huge", func(path string) error { return os.Truncate(path, 1<<30) }, "at most"},
		{"directory", func(path string) error { return replaceFile(path, func() error { return os.Mkdir(path, 0o755) }) }, "regular"},
		{"fifo", func(path string) error { return replaceFile(path, func() error { return unix.Mkfifo(path, 0o644) }) }, "regular"},
		{"symlink", func(path string) error {
			return replaceFile(path, func() error { return os.Symlink("/dev/zero", path) })
		}, "symbolic link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, make([]byte, 100), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := test.damage(path); err != nil {
				t.Fatal(err)
			}
			_, err := repo.DirTree(commit.Tree)
			if !errors.Is(err, ostreerepo.ErrCorrupted) || !strings.Contains(err.Error(), commit.Tree.String()) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// replaceFile deletes a file and then makes something else.
func replaceFile(path string, with func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with()
}

func TestMissingObjects(t *testing.T) {
	repo, c := repoWithRefs(t, "ref")
	nowhere := objects.ChecksumOf(nil)
	_, errCommit := repo.Commit(nowhere)
	_, errTree := repo.DirTree(nowhere)
	_, errMeta := repo.DirMeta(nowhere)
	_, errDetached := repo.Detached(c)
	_, _, errFile := repo.OpenFile(nowhere)
	for name, err := range map[string]error{"commit": errCommit, "dirtree": errTree, "dirmeta": errMeta, "detached": errDetached, "file": errFile} {
		if !errors.Is(err, ostreerepo.ErrNoObject) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if repo.Has(objects.KindCommit, nowhere) || repo.Has(objects.KindFile, c) || !repo.Has(objects.KindCommit, c) {
		t.Error("Has is wrong")
	}
}

func TestDetached(t *testing.T) {
	repo, c := repoWithRefs(t, "ref")
	runTool(t, "ostree", "commit", "--repo="+repo.Path(), "--branch=other", "--tree=ref="+c.String(), "--add-detached-metadata-string=key=value")
	other, err := repo.Resolve("other")
	if err != nil {
		t.Fatal(err)
	}
	dict, err := repo.Detached(other)
	if value, ok := dict["key"].AsString(); err != nil || !ok || value != "value" {
		t.Errorf("got %v, %v", dict, err)
	}
	if err := os.WriteFile(objectFile(t, repo, pathOf(other, "commitmeta")), []byte("damage"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Detached(other); !errors.Is(err, ostreerepo.ErrCorrupted) {
		t.Errorf("got %v", err)
	}
}

// TestDamagedContent asserts that content which is not what the checksum says is never read to a
// clean end.
func TestDamagedContent(t *testing.T) {
	content := strings.Repeat("some content ", 1000)
	for _, mode := range modes {
		for name, damage := range map[string]func(path string, size int64) error{
			"cut":        func(path string, size int64) error { return os.Truncate(path, size-1) },
			"empty":      func(path string, _ int64) error { return os.Truncate(path, 0) },
			"overwrite":  func(path string, size int64) error { return writeAt(path, size-5, "\xff\xff") },
			"the middle": func(path string, size int64) error { return writeAt(path, size/2, "\xff\xff") },
			"beginning":  func(path string, _ int64) error { return writeAt(path, 0, "\xff\xff") },
		} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				repo := newRepo(t, mode)
				s := newStaging(t, repo)
				c, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, int64(len(content)), strings.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				landFile(t, s, c)
				path := objectFile(t, repo, c.String()[:2]+"/"+c.String()[2:]+".file*")
				if err := damage(path, lstat(t, path).Size); err != nil {
					t.Fatal(err)
				}
				_, r, err := repo.OpenFile(c)
				if err == nil {
					defer r.Close()
					_, err = io.Copy(io.Discard, r)
				}
				if !errors.Is(err, ostreerepo.ErrCorrupted) || !strings.Contains(err.Error(), c.String()) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// landFile lands a commit with one file.
func landFile(t *testing.T, s *ostreerepo.Staging, c objects.Checksum) {
	t.Helper()
	meta, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.WriteDirTree(objects.DirTree{Files: []objects.TreeFile{{Name: "file", Checksum: c}}})
	if err != nil {
		t.Fatal(err)
	}
	commit, err := s.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	landRef(t, s, "ref", commit)
}

func writeAt(path string, at int64, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), at)
	return errors.Join(err, f.Close())
}
