package ostreerepo_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// commitFiles commits files with these contents under a ref. The second and later commits of a ref
// have a parent.
func commitFiles(t *testing.T, repo *ostreerepo.Repo, ref string, contents ...string) objects.Checksum {
	t.Helper()
	dir := t.TempDir()
	for i, content := range contents {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "file"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := objects.ParseChecksum(runTool(t, "ostree", "--repo="+repo.Path(), "commit", "--branch="+ref, "--tree=dir="+dir))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// diskUsage is what du says of the objects, in bytes.
func diskUsage(t *testing.T, repo *ostreerepo.Repo) uint64 {
	t.Helper()
	var bytes uint64
	out := runTool(t, "sh", "-c", "find \"$1\" -type f -links 1 -printf '%b\\n' | awk '{s+=$1} END {print s*512}'", "sh", filepath.Join(repo.Path(), "objects"))
	if _, err := fmt.Sscan(out, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestGarbageIsWhatPruneDeletes compares what is foretold with what goes.
func TestGarbageIsWhatPruneDeletes(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			commitFiles(t, repo, "kept", "shared", "old")
			commitFiles(t, repo, "kept", "shared", "new")
			commitFiles(t, repo, "dropped", "shared", "only dropped", strings.Repeat("large", 100_000))
			commitFiles(t, repo, "not/dropped", "x")
			runTool(t, "ostree", "--repo="+repo.Path(), "refs", "--create=other:remote", "not/dropped")
			runTool(t, "sync", "--file-system", repo.Path())
			before := diskUsage(t, repo)

			g, err := repo.Garbage(t.Context(), map[string]bool{"dropped": true, "not/dropped": true})
			if err != nil {
				t.Fatal(err)
			}
			if now, err := repo.Garbage(t.Context(), nil); err != nil || now.Objects != 0 || now.Bytes != 0 {
				t.Errorf("with all refs %+v is garbage (%v)", now.Usage, err)
			}
			if gone := g.Gone(); gone != (ostreerepo.Usage{}) {
				t.Errorf("%+v is gone before anything was deleted", gone)
			}
			if err := repo.DeleteRefs(t.Context(), "dropped", "not/dropped", "never/was"); err != nil {
				t.Fatal(err)
			}
			if err := repo.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
			if gone := g.Gone(); gone != g.Usage || gone.Objects == 0 {
				t.Errorf("foretold were %+v, gone are %+v", g.Usage, gone)
			}
			if freed := before - diskUsage(t, repo); freed != g.Bytes {
				t.Errorf("%d bytes were freed, foretold were %d", freed, g.Bytes)
			}
			checkClean(t, repo)
			runTool(t, "ostree", "--repo="+repo.Path(), "ls", "-R", "kept^")
			runTool(t, "ostree", "--repo="+repo.Path(), "ls", "-R", "other:remote")
		})
	}
}

// TestGarbageOfDamage says which damage keeps objects from being pruned, as ostree does.
func TestGarbageOfDamage(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	c := commitFiles(t, repo, "one", "content")
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	text := commit.Tree.String()
	if err := os.Remove(filepath.Join(repo.Path(), "objects", text[:2], text[2:]+".dirtree")); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Garbage(t.Context(), nil); !errors.Is(err, ostreerepo.ErrNoObject) || !strings.Contains(err.Error(), "one") {
		t.Errorf("a missing directory: %v", err)
	}
	if repo.Prune(t.Context()) == nil {
		t.Error("ostree prunes beside a commit that lacks a directory")
	}
	if err := os.WriteFile(filepath.Join(repo.Path(), "state", c.String()+".commitpartial"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Garbage(t.Context(), nil); err != nil {
		t.Errorf("a commit that is known to be incomplete: %v", err)
	}
	if err := repo.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := repo.Garbage(t.Context(), map[string]bool{"one": true}); err != nil {
		t.Error(err)
	}
}
