package importer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// repairHost has two images that share their first layer.
func repairHost(t *testing.T, mode ostreerepo.Mode) *testHost {
	t.Helper()
	lower := []string{"d usr/share 750", "f usr/share/deep/lower lower", "f usr/share/text text"}
	registry := &testRegistry{images: map[string]*testImage{
		"docker://example.com/os:1": newImage(t, lower, []string{"f usr/share/upper 1", "f usr/share/deep/merged merged"}),
		"docker://example.com/os:2": newImage(t, lower, []string{"f usr/share/upper 2"}),
	}}
	h := newHost(t, mode, registry)
	h.mustPull(Request{Image: "docker://example.com/os:1"})
	h.mustPull(Request{Image: "docker://example.com/os:2"})
	return h
}

func (h *testHost) verify(req VerifyRequest) *VerifyResult {
	h.Helper()
	res, err := h.im.Verify(h.Context(), req, nil)
	h.must(err)
	return res
}

// states gives the state of each image.
func states(res *VerifyResult) string {
	var list []string
	for _, image := range res.Images {
		list = append(list, image.State)
	}
	return strings.Join(list, " ")
}

// objectAt is the path of the object that a commit has at a path; of the kind file, dirtree or
// dirmeta.
func (h *testHost) objectAt(rev, path string, kind objects.Kind) string {
	h.Helper()
	c, err := h.repo.Resolve(rev)
	h.must(err)
	commit, err := h.repo.Commit(c)
	h.must(err)
	found, err := ostreerepo.Lookup(h.repo, commit.Tree, strings.TrimPrefix(path, "/"))
	h.must(err)
	if !found.Exists() {
		h.Fatalf("%s has no %s", rev, path)
	}
	suffix, sum := string(kind), found.File
	switch {
	case kind == objects.KindDirTree:
		sum = found.Dir.Tree
	case kind == objects.KindDirMeta:
		sum = found.Dir.Meta
	case h.repo.Mode() == ostreerepo.ModeArchive:
		suffix = "filez"
	}
	return h.object(sum.String(), suffix)
}

// flip changes a bit in the middle of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}

func (h *testHost) layerRef(image string, layer int) string {
	h.Helper()
	ref, err := reference.BlobRef(h.registry.images[image].manifest.Layers[layer].Digest)
	h.must(err)
	return ref
}

func TestVerifyAndRepair(t *testing.T) {
	const one, two = "docker://example.com/os:1", "docker://example.com/os:2"
	ref := reference.ImagePrefix + "/docker_3A__2F__2F_example_2E_com/os_3A_1"
	remove := func(h *testHost, path string) { h.must(os.Remove(path)) }
	cases := []struct {
		name    string
		damage  func(h *testHost)
		states  string // before and after a repair
		after   string
		want    string // of the damage of the first image: layer, path, and a part of the problem
		fetched int
	}{
		{"none", func(*testHost) {}, "good good", "good good", "", 0},
		{"missing file of both", func(h *testHost) { remove(h, h.objectAt(ref, "usr/share/deep/lower", objects.KindFile)) },
			"damaged damaged", "repaired repaired", "1 /usr/share/deep/lower missing", 1},
		{"flipped bit of both", func(h *testHost) { flip(h, h.objectAt(ref, "usr/share/text", objects.KindFile)) },
			"damaged damaged", "repaired repaired", "1 /usr/share/text not what its name says", 1},
		{"missing file of one", func(h *testHost) { remove(h, h.objectAt(ref, "usr/share/deep/merged", objects.KindFile)) },
			"damaged good", "repaired good", "2 /usr/share/deep/merged missing", 1},
		{"missing directory of a layer", func(h *testHost) { remove(h, h.objectAt(h.layerRef(one, 0), "usr/share/deep", objects.KindDirTree)) },
			"damaged damaged", "repaired repaired", "1 /usr/share/deep missing", 1},
		{"flipped bit in a directory of a layer", func(h *testHost) { flip(h, h.objectAt(h.layerRef(one, 1), "usr/share/deep", objects.KindDirTree)) },
			"damaged good", "repaired good", "2 /usr/share/deep not what its name says", 1},
		{"missing directory of the merge", func(h *testHost) { remove(h, h.objectAt(ref, "usr/share/deep", objects.KindDirTree)) },
			"damaged good", "repaired good", "0 /usr/share/deep missing", 0},
		{"missing metadata of a directory", func(h *testHost) { remove(h, h.objectAt(h.layerRef(one, 0), "usr/share", objects.KindDirMeta)) },
			"damaged damaged", "repaired repaired", "1 /usr/share missing", 1},
		{"missing ref of a layer", func(h *testHost) { remove(h, filepath.Join(h.repo.Path(), "refs/heads", h.layerRef(one, 1))) },
			"damaged good", "repaired good", "2  no such ref", 1},
		{"broken ref of a layer", func(h *testHost) {
			writeFile(h, filepath.Join(h.repo.Path(), "refs/heads", h.layerRef(one, 1)), []byte("nothing"))
		}, "damaged good", "repaired good", "2  holds no checksum", 1},
		{"missing commit of a layer", func(h *testHost) {
			c, err := h.repo.Resolve(h.layerRef(one, 0))
			h.must(err)
			h.removeObject(c.String(), "commit")
		}, "damaged damaged", "repaired repaired", "1  no such object", 1},
		{"flipped bit in the commit of a layer", func(h *testHost) {
			c, err := h.repo.Resolve(h.layerRef(one, 0))
			h.must(err)
			flip(h, h.object(c.String(), "commit"))
		}, "damaged damaged", "repaired repaired", "1  its checksum is", 1},
		{"cut commit of a layer", func(h *testHost) {
			c, err := h.repo.Resolve(h.layerRef(one, 0))
			h.must(err)
			h.must(os.Truncate(h.object(c.String(), "commit"), 0))
		}, "damaged damaged", "repaired repaired", "1  its checksum is", 1},
		{"damaged detached metadata", func(h *testHost) {
			c, err := h.repo.Resolve(ref)
			h.must(err)
			writeFile(h, h.object(c.String(), "commitmeta"), []byte("nonsense that is no dictionary"))
		}, "damaged good", "repaired good", "0  not what its name says", 0},
		{"everything at once", func(h *testHost) {
			flip(h, h.objectAt(ref, "usr/share/text", objects.KindFile))
			remove(h, h.objectAt(h.layerRef(one, 1), "usr/share/deep", objects.KindDirTree))
			remove(h, filepath.Join(h.repo.Path(), "refs/heads", h.layerRef(two, 1)))
			remove(h, h.objectAt(ref, "usr/share/deep", objects.KindDirTree))
		}, "damaged damaged", "repaired repaired", "1 /usr/share/text not what its name says", 3},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := repairHost(t, []ostreerepo.Mode{ostreerepo.ModeBareUser, ostreerepo.ModeArchive, ostreerepo.ModeBare}[i%3])
			refs := h.refs()
			c.damage(h)
			damaged := h.refs()
			h.registry.requested()

			found := h.verify(VerifyRequest{})
			if states(found) != c.states {
				t.Errorf("states %s, want %s: %s", states(found), c.states, toJSON(t, found))
			}
			if h.refs() != damaged || h.registry.requested() != 0 {
				t.Error("looking changes something")
			}
			checkDamage(t, found.Images[0], c.want)
			repaired := h.verify(VerifyRequest{Repair: true})
			if states(repaired) != c.after {
				t.Errorf("states %s after the repair, want %s: %s", states(repaired), c.after, toJSON(t, repaired))
			}
			if n := h.registry.requested(); n != c.fetched || repaired.LayersFetched != c.fetched {
				t.Errorf("%d layers were fetched, told are %d, want %d", n, repaired.LayersFetched, c.fetched)
			}
			if again := h.verify(VerifyRequest{Images: []string{one, two}}); states(again) != "good good" {
				t.Errorf("states %s after the repair: %s", states(again), toJSON(t, again))
			}
			h.checkClean(refs)
		})
	}
}

// checkDamage compares the first damage of an image with what is expected: the index of the layer,
// the path, and a part of the problem.
func checkDamage(t *testing.T, image VerifiedImage, want string) {
	t.Helper()
	if want == "" {
		if len(image.Damage) > 0 {
			t.Errorf("damage %+v", image.Damage)
		}
		return
	}
	fields := strings.SplitN(want, " ", 3)
	for _, d := range image.Damage {
		if strings.HasPrefix(fields[0], string(rune('0'+d.LayerIndex))) && d.Path == fields[1] && strings.Contains(d.Problem, fields[2]) {
			if (d.LayerIndex > 0) != (d.Layer != "") {
				t.Errorf("damage %+v names no layer", d)
			}
			return
		}
	}
	t.Errorf("damage %+v, want %q", image.Damage, want)
}

func TestVerifyWhatCannotBeRepaired(t *testing.T) {
	h := repairHost(t, ostreerepo.ModeBareUser)
	ref := reference.ImagePrefix + "/docker_3A__2F__2F_example_2E_com/os_3A_1"
	c, err := h.repo.Resolve(ref)
	h.must(err)
	h.removeObject(c.String(), "commit")
	res := h.verify(VerifyRequest{Repair: true})
	if states(res) != "damaged good" || !strings.Contains(toJSON(t, res.Images[0].Damage), "import it again") {
		t.Errorf("%s", toJSON(t, res))
	}
	h.mustPull(Request{Image: "docker://example.com/os:1"})
	if res := h.verify(VerifyRequest{}); states(res) != "good good" {
		t.Errorf("%s", toJSON(t, res))
	}

	// The source has the image no more: what is there is left as it is.
	flip(h, h.objectAt(ref, "usr/share/deep/merged", objects.KindFile))
	image := h.registry.images["docker://example.com/os:1"]
	delete(h.registry.images, "docker://example.com/os:1")
	res = h.verify(VerifyRequest{Repair: true})
	if states(res) != "damaged good" || !strings.Contains(toJSON(t, res.Images[0].Damage), "can't be repaired") {
		t.Errorf("%s", toJSON(t, res))
	}
	if list, err := h.im.Images(t.Context()); err != nil || list[0].Broken != "" {
		t.Errorf("the image is now %+v (%v)", list, err)
	}

	// It was replaced before the repair came to it.
	h.registry.images["docker://example.com/os:1"] = image
	old, err := h.repo.Resolve(ref)
	h.must(err)
	other, err := h.repo.Resolve(reference.ImagePrefix + "/docker_3A__2F__2F_example_2E_com/os_3A_2")
	h.must(err)
	h.must(h.repo.SetRef(t.Context(), ref, other))
	if _, err := h.im.lookAgain(t.Context(), ostreerepo.Ref{Name: ref, Commit: old}); !errors.Is(err, errReplaced) {
		t.Errorf("replaced: %v", err)
	}
	h.must(h.repo.SetRef(t.Context(), ref, old))
	if _, err := h.im.Verify(t.Context(), VerifyRequest{Images: []string{"docker://example.com/none:1"}}, nil); KindOf(err) != KindNoSuchImage {
		t.Errorf("an image that is not stored: %v", err)
	}
}

// TestRepairOfShared mends one of two images that share what is damaged: so the other one is mended
// too.
func TestRepairOfShared(t *testing.T) {
	const one, two = "docker://example.com/os:1", "docker://example.com/os:2"
	h := repairHost(t, ostreerepo.ModeBareUser)
	flip(h, h.objectAt(h.layerRef(one, 0), "usr/share/text", objects.KindFile))
	if res := h.verify(VerifyRequest{Images: []string{one}, Repair: true}); states(res) != "repaired" {
		t.Errorf("%s", toJSON(t, res))
	}
	if res := h.verify(VerifyRequest{Images: []string{two}}); states(res) != "good" {
		t.Errorf("%s", toJSON(t, res))
	}
	if res := h.verify(VerifyRequest{}); states(res) != "good good" {
		t.Errorf("%s", toJSON(t, res))
	}
	h.checkClean(h.refs())
}

// TestRepairOpensNoUncleanOrigin: a name that another program has recorded leads to another place
// than it did for that program, and no rule about callers has seen it.
func TestRepairOpensNoUncleanOrigin(t *testing.T) {
	h := repairHost(t, ostreerepo.ModeBareUser)
	const one = "docker://example.com/os:1"
	ref := reference.ImagePrefix + "/docker_3A__2F__2F_example_2E_com/os_3A_1"
	commit, err := h.repo.Resolve(ref)
	h.must(err)
	flip(h, h.objectAt(ref, "usr/share/deep/merged", objects.KindFile))
	h.must(h.repo.DeleteRefs(t.Context(), ref))
	for _, name := range []string{"oci:x:t", "dir:../x", "oci-archive:/srv/../x", "docker-archive:./x"} {
		image, err := reference.ParseImage(name)
		h.must(err)
		unclean, err := reference.ImageRef(image)
		h.must(err)
		h.must(h.repo.SetRef(t.Context(), unclean, commit))
		h.registry.images[name] = h.registry.images[one]
		h.registry.requested()
		res := h.verify(VerifyRequest{Repair: true})
		damage := toJSON(t, res)
		if !strings.Contains(damage, "the origin of "+name+" is not opened") || h.registry.requested() != 0 {
			t.Errorf("%s: %s", name, damage)
		}
		h.must(h.repo.DeleteRefs(t.Context(), unclean))
	}
}
