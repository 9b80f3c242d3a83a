package importer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// unverifiedLayers gives the indices of the layers that are listed as not verified, 0 for the
// image's commit.
func unverifiedLayers(list []Unverified) string {
	var indices []string
	for _, u := range list {
		indices = append(indices, string(rune('0'+u.LayerIndex)))
	}
	return strings.Join(indices, " ")
}

// forgetRecord removes what is recorded of a layer, as if this program had never fetched it.
func (h *testHost) forgetRecord(ref string) {
	h.Helper()
	h.must(os.Remove(filepath.Join(h.repo.Path(), "refs/heads", reference.RecordRef(ref))))
}

// TestUnverified: what another program has stored is not called good, and a pull that wants it
// verified makes it so.
func TestUnverified(t *testing.T) {
	upper := []string{"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/new 1"}
	poison := append(slices.Clone(upper), "f usr/bin/evil 1")
	labelled := func(i *testImage, s *system) { i.label(document.LabelCommit, s.commit.String()) }
	cases := []struct {
		name      string
		derived   bool // the image has a layer on the commit
		canonical bool // its origin has the manifest in canonical form
		edit      func(i *testImage, s *system)
		store     func(h *testHost, i *testImage, s *system)
		want      string // the layers that are not verified
		fetched   int    // by a pull that requires that they are
	}{
		{"all by this program", true, false, nil, func(*testHost, *testImage, *system) {}, "", 0},
		{"a derived layer", true, false, nil, func(h *testHost, i *testImage, _ *system) { h.foreignLayer(i.ref(h, 3), upper...) }, "4", 1},
		{"a poisoned derived layer", true, false, nil, func(h *testHost, i *testImage, _ *system) { h.foreignLayer(i.ref(h, 3), poison...) }, "4", 1},
		{"a layer of ours with other contents", true, false, nil, func(h *testHost, i *testImage, _ *system) {
			h.ostree("commit", "--no-bindings", "--parent=none", "--branch="+i.ref(h, 3), "--tree=ref="+i.ref(h, 3),
				"--owner-uid=7", byAnother, "--add-metadata-string=ostree-importd.path-rules="+h.metadata(i.ref(h, 3), "ostree-importd.path-rules"),
				"--add-metadata-string=ostree-importd.diff-id="+h.metadata(i.ref(h, 3), "ostree-importd.diff-id"),
				"--add-metadata-string=ostree-importd.tree="+h.metadata(i.ref(h, 3), "ostree-importd.tree"))
		}, "4", 1},
		{"the first layer", false, false, nil, func(h *testHost, i *testImage, _ *system) { h.forgetRecord(i.ref(h, 0)) }, "1", 1},
		{"the first layer, which the label names", false, false, labelled, func(*testHost, *testImage, *system) {}, "", 0},
		{"the first layer is another commit", false, false, nil, func(h *testHost, i *testImage, s *system) {
			h.ostree("commit", "--branch="+i.ref(h, 0), "--parent=none", "--tree=ref="+s.commit.String(), "--add-metadata-string=version=43")
		}, "1", 1},
		{"an image", true, false, labelled, func(h *testHost, i *testImage, s *system) {
			h.foreignImage(testRef, i, string(i.rawConfig), "--parent="+s.commit.String(), "--tree=ref="+testRef)
		}, "0 1", 0},
		{"an image whose documents prove the commit", true, true, labelled, func(h *testHost, i *testImage, s *system) {
			h.foreignImage(testRef, i, string(i.rawConfig), "--parent="+s.commit.String(), "--tree=ref="+testRef)
		}, "0", 0},
		{"an image without layers on the commit", false, true, labelled, func(h *testHost, i *testImage, s *system) {
			h.foreignImage(testRef, i, string(i.rawConfig), "--parent="+s.commit.String(), "--tree=ref="+s.commit.String())
		}, "", 0},
		{"an image without its config", true, false, labelled, func(h *testHost, i *testImage, s *system) {
			h.foreignLayer(i.ref(h, 3), upper...)
			h.foreignImage(testRef, i, "", "--parent="+s.commit.String(), "--tree=ref="+testRef)
		}, "0 1 4", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t, plainSystem)
			var derived [][]string
			if c.derived {
				derived = append(derived, upper)
			}
			image := s.image(2, derived...)
			if c.edit != nil {
				c.edit(image, s)
			}
			if image.seal(t); c.canonical {
				image.writeCanonical(t)
			}
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			h.mustPull(Request{Image: testName})
			c.store(h, image, s)
			h.registry.requested()

			found := h.verify(VerifyRequest{}).Images[0]
			state := StateUnverified
			if c.want == "" {
				state = StateGood
			}
			if got := unverifiedLayers(found.Unverified); found.State != state && found.State != StateDamaged || got != c.want {
				t.Errorf("%q are not verified, want %q: %s", got, c.want, toJSON(t, found))
			}
			stored, err := h.im.Image(t.Context(), testName)
			h.must(err)
			if got := unverifiedLayers(stored.Unverified); got != c.want {
				t.Errorf("show tells that %q are not verified, want %q", got, c.want)
			}
			if list, err := h.im.Images(t.Context()); err != nil || unverifiedLayers(list[0].Unverified) != c.want {
				t.Errorf("the list tells %+v, %v", list[0].Unverified, err)
			}
			if h.registry.requested() != 0 {
				t.Error("looking fetches layers")
			}

			res := h.mustPull(Request{Image: testName, RequireVerified: true})
			if n := h.registry.requested(); n != c.fetched || res.AlreadyPresent != (c.want == "") {
				t.Errorf("%d layers were fetched, want %d: %+v", n, c.fetched, res)
			}
			after := h.verify(VerifyRequest{})
			if states(after) != "good" || len(after.Images[0].Unverified) > 0 {
				t.Errorf("after a pull that requires it: %s", toJSON(t, after))
			}
			h.checkClean(h.refs())
		})
	}
}

// writeCanonical gives a sealed image a manifest in canonical form, as programs that encapsulate
// commits write it.
func (i *testImage) writeCanonical(t *testing.T) {
	t.Helper()
	text, err := canonical(i.rawManifest)
	if err != nil {
		t.Fatal(err)
	}
	i.rawManifest, i.digest = []byte(text), digest.FromString(text)
}

// TestCopyKeepsWhatIsVerified: a copy of a verified image is verified too.
func TestCopyKeepsWhatIsVerified(t *testing.T) {
	s := newSystem(t, plainSystem)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, s.image(1, []string{"f usr/bin/new 1"})))
	h.mustPull(Request{Image: testName})
	to := newHost(t, ostreerepo.ModeArchive, h.registry)
	_, err := h.im.Copy(t.Context(), CopyRequest{Image: testName, Repository: to.repo.Path()}, nil)
	h.must(err)
	if res := to.verify(VerifyRequest{}); states(res) != "good" {
		t.Errorf("the copy is %s", toJSON(t, res))
	}
}
