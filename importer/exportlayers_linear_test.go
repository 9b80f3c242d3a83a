package importer

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestExportManyImpliedDirectories exports a layer with many directories in one that it does not
// list, and whose owners do not say by themselves whether the export has to. Reading their parent
// for each takes minutes.
func TestExportManyImpliedDirectories(t *testing.T) {
	const n = 6000
	lower, upper := []string{"d low"}, make([]string, 0, 2*n)
	for i := range n {
		lower = append(lower, fmt.Sprintf("d low/%d", i))
		upper = append(upper, fmt.Sprintf("o low/%d/b 5", i), fmt.Sprintf("o low/%d/a 6", i))
	}
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, imageOf(t, archive(t, lower...), ownedArchive(t, upper...))))
	h.ostree("config", "set", "core.fsync", "false")
	h.mustPull(Request{Image: testName})
	dir := filepath.Join(t.TempDir(), "layout")
	start := time.Now()
	h.export("oci:" + dir)
	took := time.Since(start)
	t.Logf("the export took %v", took)
	if took > time.Minute {
		t.Errorf("the export took %v", took)
	}
	if got := len(readLayout(t, dir).entries(t, 1)); got != 2*n {
		t.Errorf("the upper layer has %d entries, want %d", got, 2*n)
	}
}
