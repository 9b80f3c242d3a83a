package ostreerepo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// mountTmpfs mounts a small file system of its own and returns its path.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	needs.Root(t)
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
		t.Fatalf("cannot mount a tmpfs: %v: run the tests where that is allowed", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	return path
}

func createIn(t *testing.T, dir string) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(dir, "a/b/repo"), ostreerepo.ModeBare, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// TestNoSpace fills a small file system as far as that goes, or as the repository's configuration
// lets us.
func TestNoSpace(t *testing.T) {
	const total = 8 << 20
	tests := []struct {
		name, config string
		kept         uint64
	}{
		{"default", "", total / 100 * 3},
		{"nothing kept free", "min-free-space-percent=0\n", 0},
		{"percentage", "min-free-space-percent=50\n", total / 2},
		{"size", "min-free-space-percent=50\nmin-free-space-size=2MB\n", 2 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mountTmpfs(t, fmt.Sprintf("size=%d", total))
			repo := configured(t, createIn(t, dir), tt.config)
			s := newStaging(t, repo)
			_, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG}, 16<<20, io.LimitReader(zeros{}, 16<<20))
			if !errors.Is(err, ostreerepo.ErrNoSpace) {
				t.Errorf("a large file: %v", err)
			}
			content := make([]byte, 64<<10)
			for number := range 200 {
				content[0] = byte(number)
				_, err = s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG}, int64(len(content)), bytes.NewReader(content))
				if err != nil {
					break
				}
			}
			if !errors.Is(err, ostreerepo.ErrNoSpace) {
				t.Errorf("small files: %v", err)
			}
			var stat unix.Statfs_t
			if err := unix.Statfs(dir, &stat); err != nil {
				t.Fatal(err)
			}
			const slack = 256 << 10 // directories, metadata, and a file that would not have fitted
			if free := stat.Bfree * uint64(stat.Bsize); free+slack < tt.kept || free > tt.kept+slack {
				t.Errorf("%d bytes are left free, want %d", free, tt.kept)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			checkClean(t, repo)
			again := newStaging(t, repo)
			landRef(t, again, "fits", manyFiles(t, again, 10, 10, 0))
		})
	}
}

func TestBadFreeSpaceSettings(t *testing.T) {
	for _, line := range []string{"min-free-space-percent=100", "min-free-space-percent=x", "min-free-space-size=1KB", "min-free-space-size=GB", "min-free-space-size=99999999TB"} {
		t.Run(line, func(t *testing.T) {
			dir := t.TempDir()
			err := errors.Join(os.Mkdir(filepath.Join(dir, "objects"), 0o755), os.Mkdir(filepath.Join(dir, "refs"), 0o755),
				os.WriteFile(filepath.Join(dir, "config"), []byte("[core]\nrepo_version=1\n"+line+"\n"), 0o644))
			if err != nil {
				t.Fatal(err)
			}
			key, _, _ := strings.Cut(line, "=")
			if _, err := ostreerepo.Open(t.Context(), dir, ostreerepo.Options{}); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

// configured adds lines to the configuration of a repository, and opens it again.
func configured(t *testing.T, repo *ostreerepo.Repo, lines string) *ostreerepo.Repo {
	t.Helper()
	path := filepath.Join(repo.Path(), "config")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(config, lines...), 0o644); err != nil {
		t.Fatal(err)
	}
	if repo, err = ostreerepo.Open(t.Context(), repo.Path(), ostreerepo.Options{}); err != nil {
		t.Fatal(err)
	}
	return repo
}

// TestNoSpaceToLand is about a file system in which the command finds no room although we did.
func TestNoSpaceToLand(t *testing.T) {
	dir := mountTmpfs(t, "size=64m,nr_inodes=2000")
	repo := createIn(t, dir)
	s := newStaging(t, repo)
	if err := s.SetRef("ref", manyFiles(t, s, 100, 10, 0)); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.Mkdir(filler, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	for number := 0; err == nil; number++ {
		err = os.WriteFile(filepath.Join(filler, strconv.Itoa(number)), nil, 0o644)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := s.Land(t.Context()); !errors.Is(err, ostreerepo.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	if refs, err := repo.Refs(""); err != nil || len(refs) > 0 {
		t.Errorf("refs: %v, %v", refs, err)
	}
	if err := os.RemoveAll(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Land(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkClean(t, repo)
}

func TestReadOnly(t *testing.T) {
	dir := mountTmpfs(t, "size=8m")
	repo := createIn(t, dir)
	s := newStaging(t, repo)
	c := manyFiles(t, s, 3, 10, 0)
	landRef(t, s, "ref", c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	defer remount(0)
	if _, err := repo.NewStaging(); !errors.Is(err, ostreerepo.ErrReadOnly) {
		t.Errorf("staging: %v", err)
	}
	if err := repo.SetRef(t.Context(), "other", c); !errors.Is(err, ostreerepo.ErrReadOnly) {
		t.Errorf("set ref: %v", err)
	}
	if err := repo.DeleteRefs(t.Context(), "ref"); !errors.Is(err, ostreerepo.ErrReadOnly) {
		t.Errorf("delete ref: %v", err)
	}
	if _, err := repo.Commit(c); err != nil {
		t.Errorf("it can't be read: %v", err)
	}
}

// TestAttributesTooLarge asserts that a file system which can't hold attributes is not called full.
func TestAttributesTooLarge(t *testing.T) {
	dir := mountExt4(t)
	s := newStaging(t, createIn(t, dir))
	h := objects.FileHeader{Mode: unix.S_IFREG, Xattrs: objects.Xattrs{{Name: "user.large", Value: make([]byte, 60_000)}}}
	_, err := s.WriteFile(h, 0, strings.NewReader(""))
	if err == nil || errors.Is(err, ostreerepo.ErrNoSpace) || !strings.Contains(err.Error(), `"user.large"`) {
		t.Errorf("got %v", err)
	}
}

// mountExt4 mounts a small ext4, in which the attributes of a file must fit into a block.
func mountExt4(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	runTool(t, "mkfs.ext4", "-q", image)
	dir := t.TempDir()
	runTool(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { runTool(t, "umount", dir) })
	return dir
}

// TestFailedLand asserts that a landing which can't be completed changes nothing that can be seen.
func TestFailedLand(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			s := newStaging(t, repo)
			good := manyFiles(t, s, 10, 10, 0)
			meta, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
			if err != nil {
				t.Fatal(err)
			}
			nowhere := objects.ChecksumOf([]byte("an object that nobody has"))
			tree, err := s.WriteDirTree(objects.DirTree{Files: []objects.TreeFile{{Name: "file", Checksum: nowhere}}})
			if err != nil {
				t.Fatal(err)
			}
			bad, err := s.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.SetRef("a/good", good), s.SetRef("b/bad", bad)); err != nil {
				t.Fatal(err)
			}
			var failed *command.Error
			if err := s.Land(t.Context()); !errors.As(err, &failed) || failed.ExitCode != 1 || !strings.Contains(failed.Stderr, nowhere.String()) {
				t.Errorf("got %v", err)
			}
			if refs, err := repo.Refs(""); err != nil || len(refs) > 0 {
				t.Errorf("refs: %v, %v", refs, err)
			}
			if repo.Has(objects.KindCommit, bad) || repo.Has(objects.KindCommit, good) {
				t.Error("a commit has landed")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := repo.Fsck(t.Context()); err != nil {
				t.Error(err)
			}
			// What the command left behind goes with its next success.
			again := newStaging(t, repo)
			landRef(t, again, "a/good", manyFiles(t, again, 10, 10, 0))
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(repo.Path(), "tmp/staging-*-??????")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestStoppedLand stops the command sooner and later: either the ref is there with all that it
// reaches, or it is not there.
func TestStoppedLand(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBare)
	s := newStaging(t, repo)
	if err := s.SetRef("ref", manyFiles(t, s, 2000, 10, 0)); err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for after := time.Duration(0); after < 80*time.Millisecond; after += 10 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := s.Land(ctx)
		cancel()
		switch _, missing := repo.Resolve("ref"); {
		case err == nil && missing != nil:
			t.Errorf("after %v: it has landed, but: %v", after, missing)
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("after %v: %v", after, err)
		case err != nil:
			stopped++
		}
		if err := repo.Fsck(t.Context()); err != nil {
			t.Errorf("after %v: %v", after, err)
		}
	}
	if stopped == 0 {
		t.Error("it was never stopped")
	}
	if err := s.Land(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkClean(t, repo)
}

func TestLandNothing(t *testing.T) {
	s := newStaging(t, newRepo(t, ostreerepo.ModeBare))
	if err := s.Land(t.Context()); err == nil || !strings.Contains(err.Error(), "no ref") {
		t.Errorf("got %v", err)
	}
}

// TestLandWhatIsThere lands a ref whose commit is in the repository only, and one that the commit's
// author bound otherwise.
func TestLandWhatIsThere(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	first := newStaging(t, repo)
	c := manyFiles(t, first, 10, 10, 0)
	landRef(t, first, "first", c)
	s := newStaging(t, repo)
	commit, err := s.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	commit.Metadata = objects.Dict{"ostree.ref-binding": objects.Strings([]string{"elsewhere"})}
	bound, err := s.WriteCommit(commit)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetRef("again", c); err != nil {
		t.Fatal(err)
	}
	landRef(t, s, "bound", bound)
	for ref, want := range map[string]objects.Checksum{"first": c, "again": c, "bound": bound} {
		if got, err := repo.Resolve(ref); err != nil || got != want {
			t.Errorf("%s is %s, %v instead of %s", ref, got, err, want)
		}
	}
}
