package treediff_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/treediff"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// countingContext counts how often somebody asks whether it has ended.
type countingContext struct {
	context.Context
	asked int
}

func (c *countingContext) Err() error {
	c.asked++
	return c.Context.Err()
}

// TestDiffLooksAtItsContext wants that for each file, and for each part of a large one.
func TestDiffLooksAtItsContext(t *testing.T) {
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const many = "for i in $(seq 100); do echo %d >$i; done"
	const large = "truncate -s 8M large; chmod %o large"
	for _, test := range []struct {
		name, from, to string
		want           int
	}{
		{"many files", fmt.Sprintf(many, 1), fmt.Sprintf(many, 2), 100},
		{"a large file", fmt.Sprintf(large, 0o600), fmt.Sprintf(large, 0o644), 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			from, to := commit(t, repo, test.from), commit(t, repo, test.to)
			ctx := &countingContext{Context: t.Context()}
			if _, err := treediff.Diff(ctx, repo, from, to); err != nil || ctx.asked < test.want {
				t.Errorf("asked %d times, error %v", ctx.asked, err)
			}
		})
	}
}

// TestDiffOfLongPaths has a few directories that stand for a million of long paths.
func TestDiffOfLongPaths(t *testing.T) {
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := repo.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: 0o040755})
	if err != nil {
		t.Fatal(err)
	}
	tree := objects.DirTree{}
	var sums []objects.Checksum
	for range 11 {
		c, err := st.WriteDirTree(tree)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, c)
		long := strings.Repeat("d", 200)
		tree = objects.DirTree{}
		for i := range 3 {
			tree.Dirs = append(tree.Dirs, objects.TreeDir{Name: fmt.Sprint(long, i), Tree: c, Meta: meta})
		}
		if len(sums) == 1 { // the longest paths are the most
			for i := 3; i < 20; i++ {
				tree.Dirs = append(tree.Dirs, objects.TreeDir{Name: fmt.Sprint(long, "a", string(rune('a'+i))), Tree: c, Meta: meta})
			}
		}
	}
	commit, err := st.WriteCommit(objects.Commit{Tree: sums[10], Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.SetRef("x", commit), st.Land(t.Context()), st.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = treediff.Diff(t.Context(), repo, treediff.Root{Tree: sums[0], Meta: meta}, treediff.Root{Tree: sums[10], Meta: meta})
	if !errors.Is(err, treediff.ErrTooMany) {
		t.Errorf("error %v", err)
	}
}
