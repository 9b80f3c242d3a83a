package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestRepairOfAnotherProgramsImage: what ostree-ext has stored is restored object by object. No ref
// changes, also where this program would make another commit of the same layer, and no sound layer
// is fetched.
func TestRepairOfAnotherProgramsImage(t *testing.T) {
	layer := []string{"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/new 1", "d usr/share 755", "d usr/share/new 755", "f usr/share/new/text text"}
	// The other program makes one more directory of the same layer, which is enough for another
	// commit.
	foreign := append(layer[:len(layer):len(layer)], "d usr/share/other 755")
	remove := func(h *testHost, path string) { h.must(os.Remove(path)) }
	cases := []struct {
		name    string
		damage  func(h *testHost, i *testImage)
		want    string // after the repair
		fetched int
	}{
		{"a file of a chunk", func(h *testHost, i *testImage) { remove(h, h.objectAt(testRef, "usr/bin/sh", objects.KindFile)) }, "repaired", 1},
		{"a flipped bit in a chunk", func(h *testHost, i *testImage) { flip(h, h.objectAt(testRef, "usr/lib/libc", objects.KindFile)) }, "repaired", 1},
		{"a directory of the base commit", func(h *testHost, i *testImage) { remove(h, h.objectAt(i.ref(h, 0), "usr/lib", objects.KindDirTree)) }, "repaired", 1},
		{"the base commit", func(h *testHost, i *testImage) {
			h.removeObject(strings.TrimSpace(h.ostree("rev-parse", i.ref(h, 0))), "commit")
		}, "repaired", 1},
		{"a chunk's commit", func(h *testHost, i *testImage) {
			h.removeObject(strings.TrimSpace(h.ostree("rev-parse", i.ref(h, 1))), "commit")
		}, "repaired", 1},
		{"a chunk's directory", func(h *testHost, i *testImage) { remove(h, h.objectAt(i.ref(h, 1), "", objects.KindDirTree)) }, "repaired", 1},
		{"a file of the derived layer", func(h *testHost, i *testImage) { remove(h, h.objectAt(i.ref(h, 3), "usr/bin/new", objects.KindFile)) }, "repaired", 1},
		{"a directory of the derived layer", func(h *testHost, i *testImage) {
			remove(h, h.objectAt(i.ref(h, 3), "usr/share/new", objects.KindDirTree))
		}, "repaired", 1},
		{"a directory of the image", func(h *testHost, i *testImage) { remove(h, h.objectAt(testRef, "usr/bin", objects.KindDirTree)) }, "repaired", 0},
		{"detached metadata of the image", func(h *testHost, i *testImage) {
			c, err := h.repo.Resolve(testRef)
			h.must(err)
			writeFile(h, h.object(c.String(), "commitmeta"), []byte("nonsense that is no dictionary"))
		}, "repaired", 0},
		{"what ostree knows to be incomplete", func(h *testHost, i *testImage) {
			c, err := h.repo.Resolve(testRef)
			h.must(err)
			h.must(h.repo.MarkPartial(c))
		}, "repaired", 0},
		{"a file that ostree's fsck has deleted", func(h *testHost, i *testImage) {
			flip(h, h.objectAt(testRef, "usr/bin/new", objects.KindFile))
			h.ostreeFails("fsck", "--delete")
		}, "repaired", 1},
		{"what only the other program makes", func(h *testHost, i *testImage) { remove(h, h.objectAt(i.ref(h, 3), "usr/share", objects.KindDirTree)) }, "damaged", 1},
	}
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t, plainSystem)
			image := s.image(2, layer)
			h := newHost(t, []ostreerepo.Mode{ostreerepo.ModeBareUser, ostreerepo.ModeArchive, ostreerepo.ModeBare}[n%3], newRegistry(testName, image))
			ours := h.mustPull(Request{Image: testName})
			h.foreignLayer(image.ref(t, 3), foreign...)
			h.foreignImage(testRef, image, string(image.rawConfig), "--parent="+s.commit.String(), "--tree=ref="+ours.Commit, "--tree=ref="+image.ref(t, 3))
			h.ostree("prune", "--refs-only") // of our commits, which would bring the objects
			refs := h.refs()
			c.damage(h, image)
			h.registry.requested()

			found := h.verify(VerifyRequest{})
			if states(found) != "damaged" || h.registry.requested() != 0 {
				t.Fatalf("%s", toJSON(t, found))
			}
			repaired := h.verify(VerifyRequest{Repair: true})
			if n := h.registry.requested(); states(repaired) != c.want || n != c.fetched || repaired.LayersFetched != c.fetched {
				t.Errorf("%d layers were fetched, want %d: %s", n, c.fetched, toJSON(t, repaired))
			}
			if got := h.refs(); got != refs {
				t.Errorf("refs are\n%s\nwant as before\n%s", got, refs)
			}
			if c.want == "damaged" {
				if !strings.Contains(toJSON(t, repaired.Images[0].Damage), "layer 4 does not bring all that its commit lacks") {
					t.Errorf("the reason is missing: %s", toJSON(t, repaired))
				}
				return
			}
			if again := h.verify(VerifyRequest{}); states(again) != "unverified" {
				t.Errorf("after the repair: %s", toJSON(t, again))
			}
			if partial, err := filepath.Glob(h.repo.Path() + "/state/*.commitpartial"); err != nil || len(partial) > 0 {
				t.Errorf("still incomplete: %q, %v", partial, err)
			}
			h.checkClean(refs)
		})
	}
}
