package importer

import (
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

func TestRequirements(t *testing.T) {
	cases := []struct {
		name, label, architecture string
		req                       Request
		kind                      Kind
	}{
		{"nothing required", "", "any", Request{}, ""},
		{"not bootable", "", runtime.GOARCH, Request{RequireBootable: true}, KindNotBootable},
		{"bootable", "ostree.bootable", runtime.GOARCH, Request{RequireBootable: true}, ""},
		{"bootable by bootc", "containers.bootc", runtime.GOARCH, Request{RequireBootable: true}, ""},
		{"bootable elsewhere", "containers.bootc", "pdp11", Request{RequireBootable: true}, KindWrongArchitecture},
		{"bootable where it is wanted", "containers.bootc", "pdp11", Request{RequireBootable: true, Architecture: "pdp11"}, ""},
		{"the architecture", "", "pdp11", Request{Architecture: "pdp11"}, ""},
		{"another architecture", "", "vax", Request{Architecture: "pdp11"}, KindWrongArchitecture},
		{"no architecture", "", "", Request{Architecture: "pdp11"}, KindWrongArchitecture},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			image := twoLayers(t)
			image.config["architecture"] = c.architecture
			if c.label != "" {
				image.label(c.label, "")
			}
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t)))
			c.req.Image = testName
			if _, err := h.pull(c.req); KindOf(err) != c.kind {
				t.Errorf("error %v, want kind %q", err, c.kind)
			}
			if n := h.registry.requested(); c.kind != "" && n != 0 {
				t.Errorf("%d layers were fetched", n)
			}
			if c.kind != "" {
				h.checkClean("[]")
			}
		})
	}
}

func TestOffline(t *testing.T) {
	image := twoLayers(t)
	pinned := "docker://example.com/os@" + image.digest.String()
	registry := newRegistry(testName, image)
	registry.images[pinned] = image
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	refuse := func(what string, req Request) {
		t.Helper()
		registry.opened = nil
		req.Offline = true
		if _, err := h.pull(req); KindOf(err) != KindOffline {
			t.Errorf("%s: error %v, want kind Offline", what, err)
		}
		if len(registry.opened) > 0 {
			t.Errorf("%s: opened %v", what, registry.opened)
		}
	}
	refuse("not stored", Request{Image: pinned})
	h.mustPull(Request{Image: testName})
	res := h.mustPull(Request{Image: pinned})
	refuse("a tag", Request{Image: testName})
	refuse("a tag with another digest", Request{Image: testName, Digest: digest.FromString("x")})
	registry.opened = nil
	for _, req := range []Request{{Image: pinned, Offline: true}, {Image: testName, Digest: image.digest, Offline: true}} {
		if again := h.mustPull(req); !again.AlreadyPresent || again.Commit != res.Commit {
			t.Errorf("result %+v", again)
		}
	}
	if len(registry.opened) > 0 {
		t.Errorf("opened %v", registry.opened)
	}

	p, err := h.im.Prepare(t.Context(), Request{Image: pinned, Offline: true})
	h.must(err)
	h.ostree("refs", "--delete", res.Layers[0].Ref)
	if _, err := p.Import(t.Context(), nil); KindOf(err) != KindOffline {
		t.Errorf("a layer has gone since: error %v, want kind Offline", err)
	}
	h.must(p.Close())
	refuse("a layer is missing", Request{Image: pinned})
}
