package ostreerepo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestLandEqualsCommit compares what lands with what the ostree command makes of the same
// directory: the checksum, the listing, and every object's file.
func TestLandEqualsCommit(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir)
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			ours, theirs := newRepo(t, mode), newRepo(t, mode)
			s := newStaging(t, ours)
			c := stageCommit(t, s, dir)
			landRef(t, s, "some/ref", c)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if want := cliCommit(t, theirs, "some/ref", dir); c != want {
				t.Errorf("the commit is %s instead of %s", c, want)
			}
			checkClean(t, ours)
			listing := func(r *ostreerepo.Repo) string {
				return runTool(t, "ostree", "ls", "--repo="+r.Path(), "-R", "-C", "-X", "some/ref")
			}
			if got, want := listing(ours), listing(theirs); got != want {
				t.Errorf("the listing is\n%s\ninstead of\n%s", got, want)
			}
			compareObjects(t, ours, theirs)
			compareReads(t, ours, dir)
		})
	}
}

// compareObjects compares the files below objects/.
func compareObjects(t *testing.T, ours, theirs *ostreerepo.Repo) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(filepath.Join(theirs.Path(), "objects"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		count++
		rel, err := filepath.Rel(theirs.Path(), path)
		if err != nil {
			return err
		}
		got, want := lstat(t, filepath.Join(ours.Path(), rel)), lstat(t, path)
		if got.Mode != want.Mode || got.Uid != want.Uid || got.Gid != want.Gid {
			t.Errorf("%s: mode %o, owner %d:%d instead of %o, %d:%d", rel, got.Mode, got.Uid, got.Gid, want.Mode, want.Uid, want.Gid)
		}
		content := filepath.Ext(rel) == ".file" && want.Mode&unix.S_IFMT == unix.S_IFREG
		if content && (got.Mtim != want.Mtim || got.Size != want.Size) {
			t.Errorf("%s: time %v, %d bytes instead of %v, %d", rel, got.Mtim, got.Size, want.Mtim, want.Size)
		}
		gotAttrs, wantAttrs := xattrs(t, filepath.Join(ours.Path(), rel)), xattrs(t, path)
		if !reflect.DeepEqual(gotAttrs, wantAttrs) {
			t.Errorf("%s: attributes %q instead of %q", rel, gotAttrs, wantAttrs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 60 {
		t.Errorf("only %d objects were compared", count)
	}
}

// compareReads reads the commit back and compares it with the directory that it was made of.
func compareReads(t *testing.T, repo *ostreerepo.Repo, dir string) {
	t.Helper()
	c, err := repo.Resolve("some/ref")
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	compareDir(t, repo, commit.Tree, commit.Meta, dir)
}

func compareDir(t *testing.T, repo *ostreerepo.Repo, treeSum, metaSum objects.Checksum, dir string) {
	t.Helper()
	tree, err := repo.DirTree(treeSum)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := repo.DirMeta(metaSum)
	if err != nil {
		t.Fatal(err)
	}
	if stat := lstat(t, dir); meta.UID != stat.Uid || meta.GID != stat.Gid || meta.Mode != stat.Mode {
		t.Errorf("%s: got %+v", dir, meta)
	}
	for _, d := range tree.Dirs {
		compareDir(t, repo, d.Tree, d.Meta, filepath.Join(dir, d.Name))
	}
	for _, f := range tree.Files {
		compareFile(t, repo, f.Checksum, filepath.Join(dir, f.Name))
	}
}

func compareFile(t *testing.T, repo *ostreerepo.Repo, c objects.Checksum, path string) {
	t.Helper()
	h, content, err := repo.OpenFile(c)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	defer content.Close()
	b, err := io.ReadAll(content)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	stat := lstat(t, path)
	if h.UID != stat.Uid || h.GID != stat.Gid || h.Mode != stat.Mode {
		t.Errorf("%s: got %+v instead of %o %d:%d", path, h, stat.Mode, stat.Uid, stat.Gid)
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		if target, err := os.Readlink(path); err != nil || target != h.Target || len(b) > 0 {
			t.Errorf("%s: target %q, content %q", path, h.Target, b)
		}
		return
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(b, want) || h.Target != "" {
		t.Errorf("%s: %d bytes instead of %d, %v", path, len(b), len(want), err)
	}
}

// A landing that another program's transaction keeps from starting is tried again, and no two of
// ours run at once.
func TestLandTriesAgainAfterACollision(t *testing.T) {
	state := t.TempDir()
	repo := openFake(t, fmt.Sprintf(`[ "$1" = pull-local ] || exit 0
cd %s
mkdir running || { echo "error: two at once" >&2; exit 1; }
echo >>attempts
rmdir running
[ "$(wc -l <attempts)" -ge 3 ] || { echo "error: opendir(staging-1-2): No such file or directory" >&2; exit 1; }`, state))
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error {
			s, err := repo.NewStaging()
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.SetRef(fmt.Sprintf("test/%d", i), objects.ChecksumOf(nil)); err != nil {
				return err
			}
			return s.Land(t.Context())
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if attempts, err := os.ReadFile(filepath.Join(state, "attempts")); err != nil || len(attempts) != 6 {
		t.Errorf("%d attempts (%v), want 4 landings and 2 collisions", len(attempts), err)
	}
}

func TestLandGivesUpColliding(t *testing.T) {
	repo := openFake(t, `[ "$1" = pull-local ] || exit 0
echo "error: opendir(staging-1-2): No such file or directory" >&2; exit 1`)
	s := newStaging(t, repo)
	if err := s.SetRef("test/a", objects.ChecksumOf(nil)); err != nil {
		t.Fatal(err)
	}
	var failed *command.Error
	if err := s.Land(t.Context()); !errors.As(err, &failed) {
		t.Errorf("error %v, want the command's", err)
	}
}

// TestPathsThatAreNoURIs: pull-local makes a URI of the path that it is given, without escaping
// anything.
func TestPathsThatAreNoURIs(t *testing.T) {
	needs.Tool(t, "ostree")
	dir := t.TempDir()
	makeTree(t, dir)
	for _, name := range []string{"a#b", "a?b=c", "100%", "%41", "a b&c;d@e:f+~", `"ä"'$x`, "a%23b"} {
		t.Run(name, func(t *testing.T) {
			var repos []*ostreerepo.Repo
			above := t.TempDir()
			for _, side := range []string{"from", "to"} {
				repo, err := ostreerepo.Create(t.Context(), filepath.Join(above, name, side), ostreerepo.ModeBareUser, ostreerepo.Options{})
				if err != nil {
					t.Fatal(err)
				}
				repos = append(repos, repo)
			}
			from, to := repos[0], repos[1]
			s := newStaging(t, from)
			c := stageCommit(t, s, dir)
			landRef(t, s, "some/ref", c)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := to.Pull(t.Context(), from, []string{"some/ref"}); err != nil {
				t.Fatal(err)
			}
			if got, err := to.Resolve("some/ref"); err != nil || got != c {
				t.Errorf("the ref names %s, %v, want %s", got, err, c)
			}
			for _, repo := range repos {
				if err := repo.Fsck(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
