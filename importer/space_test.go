package importer

import (
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestNoSpace: an image that can't fit is refused before anything of it is fetched.
func TestNoSpace(t *testing.T) {
	image := twoLayers(t)
	image.manifest.Layers[1].Annotations = map[string]string{annotationUncompressed: "35184372088832"}
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t)))
	_, err := h.pull(Request{Image: testName})
	if KindOf(err) != KindNoSpace || !strings.Contains(err.Error(), "nothing was fetched") || !strings.Contains(err.Error(), "35184372088832"[:6]) {
		t.Errorf("error %v", err)
	}
	if n := h.registry.requested(); n != 0 {
		t.Errorf("%d layers were asked for", n)
	}
	h.checkClean("[]")

	// What is here needs no space, whatever it says.
	small := twoLayers(t)
	h.registry.images[testName] = small
	h.mustPull(Request{Image: testName})
	h.registry.images[testName] = image
	h.mustPull(Request{Image: testName})

	archive := newHost(t, ostreerepo.ModeArchive, newRegistry(testName, image))
	archive.mustPull(Request{Image: testName}) // whose files are compressed
}
