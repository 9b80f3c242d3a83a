package importer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestRepeatedLayerUnderAnotherPolicy has an image with one layer many times, stored under no
// policy and wanted under one. To label the layer each time takes time for files that the image
// does not have.
func TestRepeatedLayerUnderAnotherPolicy(t *testing.T) {
	layer := make([]string, 300)
	for i := range layer {
		layer[i] = fmt.Sprintf("f usr/bin/new%d %d", i, i)
	}
	layers := slices.Repeat([][]string{layer}, 300)
	plain := newSystem(t, plainSystem).image(0, layer)
	labelled := newSystem(t, slices.Concat(plainSystem, policyLines("usr/etc", "bin_t"))).image(0, layers...)
	const name = "docker://example.com/os:"
	h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: map[string]*testImage{name + "plain": plain, name + "labelled": labelled}})
	h.mustPull(Request{Image: name + "plain"})
	start := time.Now()
	res := h.mustPull(Request{Image: name + "labelled"})
	took := time.Since(start)
	t.Logf("it took %v", took)
	if took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	h.checkLabels(res.Commit, "usr/bin/new7=bin_t")
}
