package importer

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestReuseForeignLayers: after another program has pulled an image, a pull of its next version
// fetches each layer that this program has not verified, unless it is told to take them as they
// are. Then the image is marked, and the next pull without that repairs it.
func TestReuseForeignLayers(t *testing.T) {
	lower := []string{"f usr/bin/new 1", "f usr/share/app/data data"}
	// The other program does not tell that the archive lists no directory: its own have another
	// mode and owner than the commit's.
	foreign := []string{"d . 700 7", "d usr 700 7", "d usr/bin 700 7", "f usr/bin/new 1", "d usr/share 755", "d usr/share/app 750", "f usr/share/app/data data"}
	s := newSystem(t, plainSystem)
	first, second := s.image(2, lower), s.image(2, lower, []string{"f usr/bin/newer 2", "f usr/share/app/.wh.data"})
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	ours := h.mustPull(Request{Image: testName})
	h.foreignLayer(first.ref(t, 3), foreign...)
	h.foreignImage(testRef, first, string(first.rawConfig), "--parent="+s.commit.String(), "--tree=ref="+ours.Commit)
	foreignCommit, err := h.repo.Resolve(first.ref(t, 3))
	h.must(err)
	h.registry.images[testName] = second
	sizes := func(layers ...int) (n uint64) {
		for _, i := range layers {
			n += uint64(second.manifest.Layers[i].Size)
		}
		return n
	}

	// Whoever tells what is to be fetched tells the same.
	prepared, err := h.im.Prepare(t.Context(), Request{Image: testName})
	h.must(err)
	h.must(prepared.Close())
	compared, err := h.im.Compare(t.Context(), CompareRequest{Image: testName})
	h.must(err)
	shown, err := h.im.Image(t.Context(), testName)
	h.must(err)
	listed, err := h.im.Images(t.Context())
	h.must(err)
	checked, err := h.im.CheckUpdate(t.Context(), UpdateRequest{Image: testName})
	h.must(err)
	offline, err := h.im.CheckUpdate(t.Context(), UpdateRequest{Image: testName, Offline: true})
	h.must(err)
	told := map[string]uint64{
		"prepare": prepared.Plan().BytesToFetch, "diff": compared.BytesToFetch, "show": shown.Update.BytesToFetch,
		"images": listed[0].Update.BytesToFetch, "a check": checked.BytesToFetch, "an offline check": offline.BytesToFetch,
	}
	for who, n := range told {
		if n != sizes(3, 4) {
			t.Errorf("%s tells that %d bytes are to be fetched, want %d", who, n, sizes(3, 4))
		}
	}
	h.registry.requested()

	reuse := Request{Image: testName, ReuseForeign: true}
	prepared, err = h.im.Prepare(t.Context(), reuse)
	h.must(err)
	h.must(prepared.Close())
	if n := prepared.Plan().BytesToFetch; n != sizes(4) {
		t.Errorf("%d bytes are to be fetched, want %d", n, sizes(4))
	}
	res := h.mustPull(reuse)
	if n := h.registry.requested(); n != 1 || res.BytesFetched != sizes(4) || !res.Layers[3].Unverified || res.Layers[4].Unverified {
		t.Errorf("%d layers were fetched: %s", n, toJSON(t, res))
	}
	if now, err := h.repo.Resolve(second.ref(t, 3)); err != nil || now != foreignCommit {
		t.Errorf("the ref of the other program's layer names %s now, %v", now, err)
	}
	if got := h.metadata(res.Commit, stored.MetaUnverified); !strings.Contains(got, second.manifest.Layers[3].Digest.String()) {
		t.Errorf("the mark is %s", got)
	}
	// A directory that exists stays what it is; a new one is the other program's.
	if got := h.ostree("ls", "-d", res.Commit, "/", "/usr", "/usr/bin", "/usr/share/app"); strings.Count(got, "d00755 0 0") != 3 || !strings.Contains(got, "d00750 0 0") {
		t.Errorf("the directories are\n%s", got)
	}
	if got := h.paths(res.Commit); !strings.Contains(got, "/usr/bin/newer") || strings.Contains(got, "/usr/share/app/data") {
		t.Errorf("the paths are %s", got)
	}
	marked := func() string {
		t.Helper()
		shown, err := h.im.Image(t.Context(), testName)
		h.must(err)
		verified := h.verify(VerifyRequest{})
		return unverifiedLayers(shown.Unverified) + "; " + states(verified) + " " + unverifiedLayers(verified.Images[0].Unverified)
	}
	if got := marked(); got != "4; unverified 4" {
		t.Errorf("marked as %q", got)
	}
	if again := h.mustPull(reuse); !again.AlreadyPresent || again.Commit != res.Commit {
		t.Errorf("again: %s", toJSON(t, again))
	}

	// Another image has the layer verified; this one is still made of the other program's.
	h.registry.images["docker://example.com/other:1"] = first
	h.mustPull(Request{Image: "docker://example.com/other:1"})
	if got := marked(); !strings.HasPrefix(got, "4; ") || !strings.Contains(got, "unverified") || strings.Contains(got, "damaged") {
		t.Errorf("marked as %q once the layer was fetched", got)
	}
	repaired := h.mustPull(Request{Image: testName})
	if repaired.AlreadyPresent || repaired.Commit == res.Commit {
		t.Errorf("a pull that reuses nothing: %s", toJSON(t, repaired))
	}
	clean := newHost(t, ostreerepo.ModeBareUser, h.registry)
	if want := clean.mustPull(Request{Image: testName}); want.Commit != repaired.Commit {
		t.Errorf("the repaired image is %s, want %s as in a new repository", repaired.Commit, want.Commit)
	}
	if res := h.verify(VerifyRequest{}); res.Count(StateGood) != 2 {
		t.Errorf("after the repair: %s", toJSON(t, res))
	}
	h.checkClean(h.refs())
}

// TestReuseForeignLayersFetchesTheRest: what is no other program's layer is not reused: one that it
// has rewritten, or a layer of another kind.
func TestReuseForeignLayersFetchesTheRest(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(0, []string{"d . 755", "d usr 755", "f usr/new 1"})
	for name, spoil := range map[string]func(h *testHost){
		"rewritten": func(h *testHost) {
			ref := image.ref(t, 1)
			h.ostree("commit", "--no-bindings", "--parent=none", "--branch="+ref, "--tree=ref="+ref, "--owner-uid=7", byAnother,
				"--add-metadata-string=ostree-importd.path-rules="+h.metadata(ref, "ostree-importd.path-rules"))
		},
		"a system": func(h *testHost) {
			h.ostree("commit", "--parent=none", "--branch="+image.ref(t, 1), "--tree=ref="+s.commit.String(), "--add-metadata-string=version=1")
		},
		"a chunk": func(h *testHost) {
			h.ostree("commit", "--no-bindings", "--parent=none", "--timestamp=@0", "--branch="+image.ref(t, 1), "--tree=dir="+t.TempDir())
		},
		"nothing": func(h *testHost) { h.ostree("refs", "--delete", image.ref(t, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			h.mustPull(Request{Image: testName, NoRef: true})
			spoil(h)
			h.registry.requested()
			res := h.mustPull(Request{Image: testName, ReuseForeign: true})
			if n := h.registry.requested(); n != 1 || res.Layers[1].Unverified {
				t.Errorf("%d layers were fetched: %s", n, toJSON(t, res))
			}
			if got := h.verify(VerifyRequest{}); states(got) != "good" {
				t.Errorf("%s", toJSON(t, got))
			}
		})
	}
}

// TestReuseForeignLayersOrVerified: the two options exclude each other.
func TestReuseForeignLayersOrVerified(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{})
	if _, err := h.pull(Request{Image: testName, ReuseForeign: true, RequireVerified: true}); KindOf(err) != KindInvalidOption {
		t.Errorf("error %v", err)
	}
}

// TestRepairOfReusedLayers: an image that is made of another program's layers is repaired as it was
// made.
func TestRepairOfReusedLayers(t *testing.T) {
	layer := []string{"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/new 1"}
	s := newSystem(t, plainSystem)
	image := s.image(1, layer)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.foreignLayer(image.ref(t, 2), layer...)
	h.mustPull(Request{Image: testName, ReuseForeign: true})
	refs := h.refs()
	directory, file := h.objectAt(testRef, "usr/bin", objects.KindDirTree), h.objectAt(testRef, "usr/bin/new", objects.KindFile)
	h.must(errors.Join(os.Remove(directory), os.Remove(file)))
	if res := h.verify(VerifyRequest{Repair: true}); states(res) != "repaired" || res.LayersFetched != 1 {
		t.Errorf("%s", toJSON(t, res))
	}
	h.checkClean(refs)
}
