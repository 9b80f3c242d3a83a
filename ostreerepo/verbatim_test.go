package ostreerepo_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// copyCommit writes every object of a commit into a staging of another repository, as one that came
// in an image would be.
func copyCommit(t *testing.T, s *ostreerepo.Staging, from *ostreerepo.Repo, c objects.Checksum) {
	t.Helper()
	commit, err := from.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	copyMetadata(t, s, from, objects.KindCommit, c)
	switch detached, err := from.Detached(c); {
	case err == nil:
		if err := s.WriteDetached(c, detached); err != nil {
			t.Fatal(err)
		}
	case !errors.Is(err, ostreerepo.ErrNoObject):
		t.Fatal(err)
	}
	copyDir(t, s, from, objects.TreeDir{Tree: commit.Tree, Meta: commit.Meta})
}

func copyDir(t *testing.T, s *ostreerepo.Staging, from *ostreerepo.Repo, d objects.TreeDir) {
	t.Helper()
	copyMetadata(t, s, from, objects.KindDirTree, d.Tree)
	copyMetadata(t, s, from, objects.KindDirMeta, d.Meta)
	tree, err := from.DirTree(d.Tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tree.Files {
		h, content, err := from.OpenFile(f.Checksum)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(content)
		if err := errors.Join(err, content.Close()); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteFileAs(f.Checksum, h, int64(len(b)), bytes.NewReader(b)); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	for _, child := range tree.Dirs {
		copyDir(t, s, from, child)
	}
}

func copyMetadata(t *testing.T, s *ostreerepo.Staging, from *ostreerepo.Repo, kind objects.Kind, c objects.Checksum) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from.Path(), "objects", pathOf(c, string(kind))))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteMetadata(kind, c, b); err != nil {
		t.Fatal(err)
	}
}

// boundCommit commits dir in a repository with a collection, so that the commit is bound to ref and
// collection, and has detached metadata.
func boundCommit(t *testing.T, repo *ostreerepo.Repo, dir string) objects.Checksum {
	t.Helper()
	runTool(t, "ostree", "config", "--repo="+repo.Path(), "set", "core.collection-id", "org.example.Collection")
	out := runTool(t, "ostree", "commit", "--repo="+repo.Path(), "--branch=bound/ref", "--timestamp=@0", "--tree=dir="+dir,
		"--add-detached-metadata-string=signed=by me", "--add-metadata-string=version=1")
	c, err := objects.ParseChecksum(out)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestForeignCommit takes a commit over from a repository of every mode into one of every mode.
func TestForeignCommit(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir)
	for _, source := range modes {
		from := newRepo(t, source)
		c := boundCommit(t, from, dir)
		for _, mode := range modes {
			t.Run(string(source)+" to "+string(mode), func(t *testing.T) {
				repo := newRepo(t, mode)
				s := newStaging(t, repo)
				copyCommit(t, s, from, c)
				if err := s.Complete(t.Context(), c); err != nil {
					t.Error(err)
				}
				landRef(t, s, "some/ref", c)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				checkClean(t, repo)
				compareReads(t, repo, dir)
				detached, err := repo.Detached(c)
				if value, _ := detached["signed"].AsString(); err != nil || value != "by me" {
					t.Errorf("the detached metadata are %v, %v", detached, err)
				}
				again := newStaging(t, repo)
				copyCommit(t, again, from, c)
				if written, _ := filepath.Glob(filepath.Join(stagings(t, repo)[0], "objects/*/*")); len(written) != 1 {
					t.Errorf("written again were %v", written)
				}
			})
		}
	}
}

// TestDetachedLands: detached metadata land with a commit that is new, and with one that the
// repository has, as after another signature; where a staging brings none, the repository keeps its
// own.
func TestDetachedLands(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			var c objects.Checksum
			for _, test := range []struct{ ref, write, want string }{
				{"ref", "first", "first"}, {"ref", "second", "second"}, {"another", "third", "third"}, {"ref", "", "third"},
			} {
				s := newStaging(t, repo)
				c = manyFiles(t, s, 3, 10, 0)
				if test.write != "" {
					if err := s.WriteDetached(c, objects.Dict{"key": objects.String(test.write), "a": objects.Uint64(7)}); err != nil {
						t.Fatal(err)
					}
				}
				landRef(t, s, test.ref, c)
				dict, err := repo.Detached(c)
				if value, _ := dict["key"].AsString(); err != nil || value != test.want {
					t.Errorf("%+v: got %q, %v", test, value, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			checkClean(t, repo)
		})
	}
}

func TestWriteFileAsRefuses(t *testing.T) {
	broken := errors.New("the source is broken")
	file := objects.FileHeader{Mode: unix.S_IFREG | 0o644}
	link := objects.FileHeader{Mode: unix.S_IFLNK | 0o777, Target: "target"}
	as := func(h objects.FileHeader, content string) objects.Checksum {
		return objects.ChecksumOf(append(h.ChecksumPrefix(), content...))
	}
	with := func(h objects.FileHeader, change func(*objects.FileHeader)) objects.FileHeader {
		change(&h)
		return h
	}
	large := strings.Repeat("x", 2<<20)
	unsorted := with(file, func(h *objects.FileHeader) {
		h.Xattrs = objects.Xattrs{{Name: "user.b", Value: []byte("1")}, {Name: "user.a", Value: []byte("1")}}
	})
	empty := with(file, func(h *objects.FileHeader) { h.Xattrs = objects.Xattrs{{Name: "user.a"}} })
	capable := func(h objects.FileHeader) objects.FileHeader {
		h.Xattrs = objects.Xattrs{{Name: objects.XattrCapability, Value: []byte{1}}}
		return h
	}
	userLink := with(link, func(h *objects.FileHeader) { h.Xattrs = objects.Xattrs{{Name: "user.a", Value: []byte("1")}} })
	odd := with(link, func(h *objects.FileHeader) { h.Mode = unix.S_IFLNK | 0o644 })
	nobody := with(file, func(h *objects.FileHeader) { h.UID = 1<<32 - 1 })
	for _, test := range []struct {
		name    string
		want    objects.Checksum
		h       objects.FileHeader
		size    int64
		content string // nothing but an error if empty and size is not 0
		err     error  // or nil
		text    string
		bare    bool // refused in a bare repository only
	}{
		{"small", as(file, "b"), file, 1, "a", ostreerepo.ErrMismatch, as(file, "a").String(), false},
		{"large", as(file, "b"), file, int64(len(large)), large, ostreerepo.ErrMismatch, as(file, large).String(), false},
		{"symlink", as(file, "b"), link, 0, "", ostreerepo.ErrMismatch, as(link, "").String(), false},
		{"symlink with content", as(link, ""), link, 1, "a", nil, "1 bytes", false},
		{"short", as(file, "b"), file, 2, "b", io.ErrUnexpectedEOF, "1 of 2", false},
		{"broken", as(file, "b"), file, 2, "", broken, "0 of 2", false},
		{"unsorted attributes", as(unsorted, "b"), unsorted, 1, "b", ostreerepo.ErrInvalid, "not in order", false},
		{"attribute without value", as(empty, "b"), empty, 1, "b", ostreerepo.ErrInvalid, "no value", false},
		{"capability of no form", as(capable(file), "b"), capable(file), 1, "b", ostreerepo.ErrInvalid, `"security.capability": the value`, false},
		{"symlink's capability", as(capable(link), ""), capable(link), 0, "", ostreerepo.ErrInvalid, `"security.capability": the value`, false},
		{"symlink's user attribute", as(userLink, ""), userLink, 0, "", ostreerepo.ErrInvalid, `"user.a": a symbolic link`, false},
		{"directory", as(file, ""), objects.FileHeader{Mode: unix.S_IFDIR}, 0, "", ostreerepo.ErrInvalid, "file type", false},
		{"symlink with a mode", as(odd, ""), odd, 0, "", ostreerepo.ErrInvalid, "0644", true},
		{"owner that chown leaves", as(nobody, "b"), nobody, 1, "b", ostreerepo.ErrInvalid, "4294967295:0", true},
	} {
		for _, mode := range modes {
			t.Run(test.name+"/"+string(mode), func(t *testing.T) {
				repo := newRepo(t, mode)
				s := newStaging(t, repo)
				r := io.Reader(strings.NewReader(test.content))
				if test.content == "" && test.size > 0 {
					r = iotest.ErrReader(broken)
				}
				err := s.WriteFileAs(test.want, test.h, test.size, r)
				if test.bare && mode != ostreerepo.ModeBare {
					if err != nil {
						t.Fatal(err)
					}
					landFile(t, s, test.want)
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.text) || test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("got %v", err)
				}
				if s.Has(objects.KindFile, test.want) {
					t.Error("the object is there")
				}
				checkNoFiles(t, repo)
			})
		}
	}
}

// checkNoFiles reports whatever is in the objects/ of a repository's only staging beside
// directories.
func checkNoFiles(t *testing.T, repo *ostreerepo.Repo) {
	t.Helper()
	for _, pattern := range []string{"objects/*/*", "objects/tmp*"} {
		found, err := filepath.Glob(filepath.Join(stagings(t, repo)[0], pattern))
		if err != nil || len(found) > 0 {
			t.Errorf("left over: %v, %v", found, err)
		}
	}
}

func TestWriteMetadataRefuses(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	meta := objects.DirMeta{Mode: unix.S_IFDIR | 0o755}.Marshal()
	list := objects.Xattrs{{Name: objects.XattrDefaultACL, Value: []byte{2, 0, 0, 0, 1}}}
	listed := objects.DirMeta{Mode: unix.S_IFDIR | 0o755, Xattrs: list}.Marshal()
	unsorted := objects.DirTree{Files: []objects.TreeFile{{Name: "b"}, {Name: "a"}}}.Marshal()
	for _, test := range []struct {
		name string
		kind objects.Kind
		want objects.Checksum
		b    []byte
		err  error
		text string
	}{
		{"mismatch", objects.KindDirMeta, objects.ChecksumOf(nil), meta, ostreerepo.ErrMismatch, objects.ChecksumOf(meta).String()},
		{"another kind", objects.KindCommit, objects.ChecksumOf(meta), meta, ostreerepo.ErrInvalid, "normal form"},
		{"unsorted", objects.KindDirTree, objects.ChecksumOf(unsorted), unsorted, ostreerepo.ErrInvalid, "not in order"},
		{"access control list", objects.KindDirMeta, objects.ChecksumOf(listed), listed, ostreerepo.ErrInvalid, `"system.posix_acl_default": an access control list`},
		{"longer", objects.KindDirMeta, objects.ChecksumOf(append(meta, 0)), append(meta, 0), ostreerepo.ErrInvalid, "normal form"},
		{"file", objects.KindFile, objects.ChecksumOf(meta), meta, ostreerepo.ErrInvalid, "no metadata object"},
		{"detached", objects.KindCommitMeta, objects.ChecksumOf(nil), nil, ostreerepo.ErrInvalid, "no metadata object"},
		{"empty", objects.KindDirTree, objects.ChecksumOf(nil), nil, ostreerepo.ErrInvalid, "normal form"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := s.WriteMetadata(test.kind, test.want, test.b)
			if err == nil || !strings.Contains(err.Error(), test.text) || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("got %v", err)
			}
			checkNoFiles(t, repo)
		})
	}
}

// TestUnsortedMetadata takes a commit as it is whose metadata another program did not sort.
func TestUnsortedMetadata(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	c := manyFiles(t, s, 3, 10, 0)
	commit, err := s.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	commit.Metadata = objects.Dict{"aa": objects.String("1"), "bb": objects.String("2")}
	b := commit.Marshal()
	at := map[string]int{"aa": bytes.Index(b, []byte("aa\x00")), "bb": bytes.Index(b, []byte("bb\x00"))}
	copy(b[at["aa"]:], "bb")
	copy(b[at["bb"]:], "aa")
	unsorted := objects.ChecksumOf(b)
	if err := s.WriteMetadata(objects.KindCommit, unsorted, b); err != nil {
		t.Fatal(err)
	}
	landRef(t, s, "ref", unsorted)
	if err := repo.Fsck(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := repo.Commit(unsorted); err != nil || len(got.Metadata) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStagingOpensFiles(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			write := func(s *ostreerepo.Staging, content string) objects.Checksum {
				t.Helper()
				c, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o600, UID: 5}, int64(len(content)), strings.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			first := newStaging(t, repo)
			landed := write(first, "landed")
			landFile(t, first, landed)
			s := newStaging(t, repo)
			for c, want := range map[objects.Checksum]string{landed: "landed", write(s, "staged"): "staged"} {
				h, r, err := s.OpenFile(c)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil || string(b) != want || h.UID != 5 || !s.Has(objects.KindFile, c) {
					t.Errorf("%+v with %q, %v instead of %q", h, b, err, want)
				}
			}
			nowhere := objects.ChecksumOf(nil)
			if _, _, err := s.OpenFile(nowhere); !errors.Is(err, ostreerepo.ErrNoObject) || s.Has(objects.KindFile, nowhere) {
				t.Errorf("got %v", err)
			}
		})
	}
}
