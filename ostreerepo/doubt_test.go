package ostreerepo_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// killedPrune leaves a commit without a ref and of its objects all but one, as a killed prune does.
func killedPrune(t *testing.T, repo *ostreerepo.Repo) objects.Checksum {
	t.Helper()
	s := newStaging(t, repo)
	c := manyFiles(t, s, 3, 10, 0)
	landRef(t, s, "mine", c)
	if err := repo.DeleteRefs(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	found := false
	remove := func(path string, _ os.DirEntry, err error) error {
		suffix := filepath.Ext(path)
		if err != nil || found || suffix != ".file" && suffix != ".filez" {
			return err
		}
		found = true
		return os.Remove(path)
	}
	err := filepath.WalkDir(filepath.Join(repo.Path(), "objects"), remove)
	if err != nil || !found {
		t.Fatal(err)
	}
	return c
}

// TestLandAfterAKilledPrune: a commit that is there without a ref is not taken for whole.
func TestLandAfterAKilledPrune(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			c := killedPrune(t, repo)
			s := newStaging(t, repo)
			if again := manyFiles(t, s, 3, 10, 0); again != c {
				t.Fatalf("the commit is %s, not %s", again, c)
			}
			landRef(t, s, "mine", c)
			if repo.IsPartial(c) {
				t.Error("the commit is still marked as incomplete")
			}
			if err := repo.Fsck(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPullAfterAKilledPrune is the same for a copy from another repository.
func TestPullAfterAKilledPrune(t *testing.T) {
	from, to := newRepo(t, ostreerepo.ModeBareUser), newRepo(t, ostreerepo.ModeArchive)
	s := newStaging(t, from)
	landRef(t, s, "mine", manyFiles(t, s, 3, 10, 0))
	c := killedPrune(t, to)
	if err := to.Pull(t.Context(), from, []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	if to.IsPartial(c) {
		t.Error("the commit is still marked as incomplete")
	}
	if err := to.Fsck(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPruneMarksCommits: what a prune leaves when it is killed is known to be incomplete.
func TestPruneMarksCommits(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	landRef(t, s, "mine", manyFiles(t, s, 3, 10, 0))
	garbage, err := repo.Garbage(t.Context(), map[string]bool{"mine": true})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.DeleteRefs(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	if err := garbage.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"state", "objects"} {
		left := fixture.MustRun(t, "find", filepath.Join(repo.Path(), dir), "-type", "f")
		if left != "" {
			t.Errorf("left are %s", left)
		}
	}
}
