//go:build hostile

package hostile

import (
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// TestHostile runs all tables against one daemon: what one row leaves behind the others meet.
func TestHostile(t *testing.T) {
	s := newStage(t)
	slow := startSlow(t, s)
	for _, table := range []struct {
		name string
		rows []row
	}{
		{"archives", archiveRows()},
		{"trees", treeRows()},
		{"blobs", blobRows()},
		{"documents", documentRows()},
		{"layouts", layoutRows()},
		{"references", referenceRows()},
		{"options", optionRows()},
		{"messages", messageRows()},
	} {
		t.Run(table.name, func(t *testing.T) { s.run(t, table.rows) })
	}
	t.Run("registries", slow)
	fixture.Fsck(t, s.repo)
	if left := fixture.Leftovers(t, s.repo); len(left) > 0 {
		t.Errorf("the repository's tmp has %q", left)
	}
}
