package export_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// Nothing is written, replaced or deleted outside of a destination whose owner swaps our
// directories for links, whatever comes of the export.
func TestHostileOwnerOfTheDestination(t *testing.T) {
	needs.Capable(t, "extended attributes")
	const rounds = 200
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	dir := t.TempDir()
	swapper := fixture.StartSwapper(t, dir, ".ostree-importd-", ".new.ostree-importd-")
	done := 0
	for range rounds {
		if _, err := export.WriteRoot(t.Context(), root, destination(export.Tar, filepath.Join(dir, "file")), nil); err == nil {
			done++
			must(t, os.Remove(filepath.Join(dir, "file")))
		}
		swapper.Check(t)
	}
	swaps := swapper.Check(t)
	if swaps == 0 {
		t.Error("nothing was swapped")
	}
	t.Logf("%d of %d exports were done, under %d swaps", done, rounds, swaps)
}
