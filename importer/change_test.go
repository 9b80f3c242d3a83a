package importer

import (
	"slices"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestImportTellsTheChange: a pull says whether the name stands for another commit now, and for
// which it stood before.
func TestImportTellsTheChange(t *testing.T) {
	first, second := versions(t)
	registry := newRegistry(testName, first)
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	want := func(res *Result, changed bool, from *ImageVersion, to *testImage, version string) {
		t.Helper()
		now := ImageVersion{Version: version, ManifestDigest: to.digest, Commit: res.Commit}
		if res.Changed != changed || toJSON(t, res.From) != toJSON(t, from) || res.To != now {
			t.Errorf("changed %t from %+v to %+v, want %t from %+v to %+v", res.Changed, res.From, res.To, changed, from, now)
		}
	}
	one := h.mustPull(Request{Image: testName})
	want(one, true, nil, first, "1.2")
	want(h.mustPull(Request{Image: testName}), false, &one.To, first, "1.2")

	h.ostree("refs", "--delete", one.Layers[1].Ref)
	repaired := h.mustPull(Request{Image: testName})
	if !slices.ContainsFunc(repaired.Layers, func(l LayerResult) bool { return !l.Cached }) {
		t.Error("no layer was fetched again")
	}
	want(repaired, false, &one.To, first, "1.2")

	registry.images[testName] = second
	two := h.mustPull(Request{Image: testName})
	want(two, true, &one.To, second, "1.3")

	// Of a commit that is gone only its checksum is known.
	h.removeObject(two.Commit, "commit")
	want(h.mustPull(Request{Image: testName}), false, &ImageVersion{Commit: two.Commit}, second, "1.3")
}

// TestLayersTellTheChange: where no name is written, layers are what can change.
func TestLayersTellTheChange(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
	for i, changed := range []bool{true, false} {
		if res := h.mustPull(Request{Image: testName, NoRef: true}); res.Changed != changed || res.From != nil || res.To.Commit != "" {
			t.Errorf("pull %d: changed %t from %+v to %+v", i+1, res.Changed, res.From, res.To)
		}
	}
}
