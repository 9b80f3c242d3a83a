package importer

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

func TestResume(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	stored := toJSON(t, p.Plan())
	h.must(p.Close())
	var plan Plan
	h.must(json.Unmarshal([]byte(stored), &plan))

	// The tag moves on; what was prepared can still be had by its digest.
	h.registry.images[testName] = newImage(t, []string{"f usr/moved 1"})
	h.registry.images["docker://example.com/other:1"] = image
	h.registry.opened = nil
	resumed := h.im.Resume(plan)
	res, err := resumed.Import(context.Background(), nil)
	h.must(err)
	h.must(resumed.Close())
	if res.ManifestDigest != image.digest || !slices.Equal(h.registry.opened, []string{"docker://example.com/os@" + image.digest.String()}) {
		t.Errorf("result %+v after opening %v", res, h.registry.opened)
	}

	// With all layers there, no source is needed.
	h.ostree("refs", "--delete", testRef)
	h.registry.opened = nil
	resumed = h.im.Resume(plan)
	again, err := resumed.Import(context.Background(), nil)
	h.must(err)
	h.must(resumed.Close())
	if again.Commit != res.Commit || len(h.registry.opened) != 0 {
		t.Errorf("commit %s after opening %v, want %s", again.Commit, h.registry.opened, res.Commit)
	}
}

func TestResumeOfWhatIsGone(t *testing.T) {
	for _, name := range []string{testName, "oci:/images/os:stable"} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, twoLayers(t)))
			p, err := h.im.Prepare(context.Background(), Request{Image: name})
			h.must(err)
			h.must(p.Close())
			refs := h.refs()
			if name == testName {
				delete(h.registry.images, name)
			} else {
				// Another image of the same layers is not the one that was prepared.
				image := twoLayers(t)
				image.manifest.Annotations = map[string]string{"changed": "yes"}
				h.registry.images[name] = image.seal(t)
			}
			resumed := h.im.Resume(p.Plan())
			_, err = resumed.Import(context.Background(), nil)
			h.must(resumed.Close())
			if KindOf(err) != KindManifestGone {
				t.Errorf("error %v, want kind ManifestGone", err)
			}
			h.checkClean(refs)
		})
	}
}
