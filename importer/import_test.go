package importer

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

const (
	testName = "docker://example.com/os:stable"
	testRef  = "ostree/container/image/docker_3A__2F__2F_example_2E_com/os_3A_stable"
)

func twoLayers(t testing.TB) *testImage {
	return newImage(t,
		[]string{"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/a 1", "f etc/conf 1", "f proc/x 1"},
		[]string{"f usr/bin/.wh.a", "f usr/bin/b 2", "f etc/conf 2"})
}

func TestImport(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBare, newRegistry(testName, image))
	res := h.mustPull(Request{Image: testName})

	if res.Reference != "ostree-unverified-registry:example.com/os:stable" || res.ImageRef != testRef || res.AlreadyPresent {
		t.Errorf("result %+v", res)
	}
	if res.ManifestDigest != image.digest || res.ConfigDigest != image.manifest.Config.Digest {
		t.Errorf("digests %s and %s", res.ManifestDigest, res.ConfigDigest)
	}
	if got := strings.TrimSpace(h.ostree("rev-parse", testRef)); got != res.Commit {
		t.Errorf("the image ref names %s, the result %s", got, res.Commit)
	}
	if got, want := h.paths(testRef), "/ /usr /usr/bin /usr/bin/b /usr/etc /usr/etc/conf"; got != want {
		t.Errorf("merged paths %q, want %q", got, want)
	}
	if got := h.ostree("cat", testRef, "/usr/etc/conf"); got != "2" {
		t.Errorf("usr/etc/conf holds %q", got)
	}
	if res.BytesFetched != uint64(image.manifest.Layers[0].Size+image.manifest.Layers[1].Size) {
		t.Errorf("%d bytes fetched", res.BytesFetched)
	}
	first := image.manifest.Layers[0].Digest
	if got, want := toJSON(t, res.Filtered), `{"`+first.String()+`":{"x":1}}`; got != want {
		t.Errorf("filtered %s, want %s", got, want)
	}
	for i, l := range res.Layers {
		if l.Digest != image.manifest.Layers[i].Digest || l.Kind != "derived" || l.Cached || l.Commit != strings.TrimSpace(h.ostree("rev-parse", l.Ref)) {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	h.ostree("fsck")
	if h.registry.open != 0 {
		t.Error("the source was left open")
	}
}

func TestMergeCommit(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	res := h.mustPull(Request{Image: testName})
	commit, err := stored.ReadImage(h.im.repo, mustChecksum(t, res.Commit))
	h.must(err)
	if commit.Digest != image.digest {
		t.Errorf("manifest digest %s", commit.Digest)
	}
	var manifest ocispec.Manifest
	h.must(json.Unmarshal(commit.RawManifest, &manifest))
	if toJSON(t, manifest) != toJSON(t, image.manifest) {
		t.Errorf("manifest %s", commit.RawManifest)
	}
	if !strings.HasPrefix(string(commit.RawConfig), `{"architecture":"amd64","config":{"Labels":`) {
		t.Errorf("the config is not canonical: %s", commit.RawConfig)
	}
	if got := h.metadata(testRef, "ostree.importer.version"); got != "ostree-importd 1" {
		t.Errorf("importer %q", got)
	}
	if out := h.ostree("log", testRef); !strings.Contains(out, "2026-01-02 03:04:05 +0000") || strings.Contains(out, "Parent") {
		t.Errorf("commit:\n%s", out)
	}
}

func TestImportIsDeterministic(t *testing.T) {
	image := twoLayers(t)
	var commits []string
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		h := newHost(t, mode, newRegistry(testName, image))
		res := h.mustPull(Request{Image: testName})
		commits = append(commits, res.Commit+" "+res.Layers[0].Commit+" "+res.Layers[1].Commit)
		h.ostree("fsck")
	}
	if commits = slices.Compact(commits); len(commits) != 1 {
		t.Errorf("commits differ between repository modes: %q", commits)
	}
}

func TestAlreadyPresent(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	first := h.mustPull(Request{Image: testName})
	h.registry.requested()

	p, err := h.im.Prepare(context.Background(), Request{Image: "ostree-unverified-image:" + testName})
	h.must(err)
	plan := p.Plan()
	if !plan.AlreadyPresent || plan.Commit != first.Commit || plan.PreviousDigest != image.digest || plan.LayersToFetch != 0 || plan.BytesToFetch != 0 {
		t.Errorf("plan %+v", plan)
	}
	res, err := p.Import(context.Background(), nil)
	h.must(err)
	h.must(p.Close())
	if !res.AlreadyPresent || res.Commit != first.Commit || res.BytesFetched != 0 || !res.Layers[0].Cached {
		t.Errorf("result %+v", res)
	}
	if n := h.registry.requested(); n != 0 {
		t.Errorf("%d blobs were requested", n)
	}
}

func TestPinnedAndPresentNeedsNoSource(t *testing.T) {
	image := twoLayers(t)
	name := "docker://example.com/os@" + image.digest.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, image))
	first := h.mustPull(Request{Image: name})
	h.registry.opened = nil
	res := h.mustPull(Request{Image: name, Digest: image.digest})
	if !res.AlreadyPresent || res.Commit != first.Commit || len(h.registry.opened) != 0 {
		t.Errorf("result %+v after opening %v", res, h.registry.opened)
	}
	// With a layer gone there is something to fetch.
	h.ostree("refs", "--delete", res.Layers[1].Ref)
	res = h.mustPull(Request{Image: name})
	if res.AlreadyPresent || res.Commit != first.Commit || len(h.registry.opened) != 1 {
		t.Errorf("result %+v after opening %v", res, h.registry.opened)
	}
}

func TestPinnedButAnotherDigestIsRequired(t *testing.T) {
	image := twoLayers(t)
	name := "docker://example.com/os@" + image.digest.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, image))
	h.mustPull(Request{Image: name})
	if _, err := h.pull(Request{Image: name, Digest: digest.FromString("another")}); KindOf(err) != KindManifestMismatch {
		t.Errorf("error %v, want kind ManifestMismatch", err)
	}
}

// A name can have the digest of an index; what comes is the manifest of this platform in it.
func TestPinnedToAnIndex(t *testing.T) {
	image := twoLayers(t)
	name := "docker://example.com/os@" + digest.FromString("index").String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, image))
	if res := h.mustPull(Request{Image: name}); res.ManifestDigest != image.digest || res.AlreadyPresent {
		t.Errorf("result %+v", res)
	}
	if res := h.mustPull(Request{Image: name, Digest: image.digest}); !res.AlreadyPresent {
		t.Errorf("result of the second pull %+v", res)
	}
}

func TestRepair(t *testing.T) {
	cases := []struct {
		name    string
		damage  func(h *testHost, res *Result)
		fetched int
	}{
		{"a layer ref is gone", func(h *testHost, res *Result) { h.ostree("refs", "--delete", res.Layers[0].Ref) }, 1},
		{"a layer commit is gone", func(h *testHost, res *Result) { h.removeObject(res.Layers[1].Commit, "commit") }, 1},
		{"the merge commit is gone", func(h *testHost, res *Result) { h.removeObject(res.Commit, "commit") }, 0},
		{"the merged root is gone", func(h *testHost, res *Result) {
			commit, err := h.repo.Commit(mustChecksum(h, res.Commit))
			h.must(err)
			h.removeObject(commit.Tree.String(), "dirtree")
			if _, err := h.pull(Request{Image: testName}); KindOf(err) != KindCorrupted || !strings.Contains(err.Error(), "ostree prune --refs-only") {
				h.Errorf("error %v, want kind Corrupted with its repair", err)
			}
			h.ostree("refs", "--delete", testRef)
			h.ostree("prune", "--refs-only")
		}, 0},
		{"the root of a layer is gone", func(h *testHost, res *Result) {
			commit, err := h.repo.Commit(mustChecksum(h, res.Layers[1].Commit))
			h.must(err)
			h.removeObject(commit.Tree.String(), "dirtree")
			if _, err := h.pull(Request{Image: testName}); KindOf(err) != KindCorrupted || !strings.Contains(err.Error(), "layer 2/2") {
				h.Errorf("error %v, want kind Corrupted of layer 2/2", err)
			}
			h.ostree("refs", "--delete", res.Layers[1].Ref)
			h.ostree("prune", "--refs-only")
		}, 1},
		{"a file is damaged", func(h *testHost, res *Result) {
			fields := strings.Fields(h.ostree("ls", "-C", testRef, "/usr/bin/b"))
			object := h.object(fields[4], "file")
			h.must(os.Chmod(object, 0o644))
			writeFile(h, object, []byte("other"))
			h.ostreeFails("fsck", "--delete")
		}, 1},
		{"the image ref is gone", func(h *testHost, res *Result) { h.ostree("refs", "--delete", res.ImageRef) }, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
			first := h.mustPull(Request{Image: testName})
			h.registry.requested()
			c.damage(h, first)
			res := h.mustPull(Request{Image: testName})
			if res.AlreadyPresent || res.Commit != first.Commit {
				t.Errorf("result %+v, want an import of %s", res, first.Commit)
			}
			if n := h.registry.requested(); n != c.fetched {
				t.Errorf("%d layers were fetched, want %d", n, c.fetched)
			}
			if res := h.mustPull(Request{Image: testName}); !res.AlreadyPresent {
				t.Error("the image is not complete after the repair")
			}
			h.ostree("fsck")
		})
	}
}

func TestLayersAreShared(t *testing.T) {
	base := []string{"d . 755", "f usr/base 1"}
	one, two := newImage(t, base, []string{"f usr/one 1"}), newImage(t, base, []string{"f usr/two 1"}, []string{"f usr/three 1"})
	registry := newRegistry(testName, one)
	registry.images["docker://example.com/os:next"] = two
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	h.mustPull(Request{Image: testName})
	p, err := h.im.Prepare(context.Background(), Request{Image: "docker://example.com/os:next", Target: testName})
	h.must(err)
	defer func() { h.must(p.Close()) }()
	plan := p.Plan()
	sizes := two.manifest.Layers
	if plan.LayersToFetch != 2 || plan.BytesToFetch != uint64(sizes[1].Size+sizes[2].Size) || plan.BytesTotal != plan.BytesToFetch+uint64(sizes[0].Size) ||
		!plan.Layers[0].Cached || plan.Layers[1].Cached || plan.PreviousDigest != one.digest || plan.AlreadyPresent || plan.Version != "1.2" {
		t.Errorf("plan %+v", plan)
	}
	res, err := p.Import(context.Background(), nil)
	h.must(err)
	if got, want := h.paths(testRef), "/ /usr /usr/base /usr/three /usr/two"; got != want || res.ImageRef != testRef {
		t.Errorf("%s holds %q, want %q", res.ImageRef, got, want)
	}
}

func TestRepeatedLayerIsFetchedOnce(t *testing.T) {
	again := []string{"f usr/x 1"}
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, again, []string{"f usr/.wh.x"}, again)))
	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	h.must(p.Close())
	if plan := p.Plan(); plan.LayersToFetch != 2 || plan.BytesToFetch != plan.Layers[0].Size+plan.Layers[1].Size || plan.BytesTotal != plan.BytesToFetch {
		t.Errorf("plan %+v", plan)
	}
	res := h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 2 {
		t.Errorf("%d blobs were requested, want 2", n)
	}
	if got, want := h.paths(res.Commit), "/ /usr /usr/x"; got != want {
		t.Errorf("merged paths %q, want %q", got, want)
	}
}

func TestNewManifestOfTheSameConfig(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.mustPull(Request{Image: testName})
	h.registry.requested()
	old := image.digest
	image.manifest.Annotations = map[string]string{ocispec.AnnotationCreated: "2026-05-06T00:00:00Z"}
	image.seal(t)
	res := h.mustPull(Request{Image: testName})
	if res.AlreadyPresent || res.ManifestDigest == old || h.metadata(testRef, stored.MetaManifestDigest) != image.digest.String() {
		t.Errorf("result %+v, want the digest %s recorded", res, image.digest)
	}
	if n := h.registry.requested(); n != 0 {
		t.Errorf("%d blobs were requested", n)
	}
}

func TestNoRef(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
	res := h.mustPull(Request{Image: testName, NoRef: true})
	if res.Commit != "" || res.ImageRef != "" || len(res.Layers) != 2 {
		t.Errorf("result %+v", res)
	}
	if got := h.ostree("refs", "--list"); strings.Contains(got, "image") || strings.Count(got, "\n") != 2 {
		t.Errorf("refs are\n%s", got)
	}
	h.registry.requested()
	h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 0 {
		t.Errorf("%d blobs were requested after all layers were there", n)
	}
}

func TestLayersOfOtherImporters(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	dir := t.TempDir()
	writeFile(t, dir+"/layer.tar", archive(t, "d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/a 1"))
	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	h.must(p.Close())
	h.ostree("commit", "--no-bindings", "--add-metadata-string=ostree.importer.version=0.15.3", "--branch="+p.Plan().Layers[0].Ref, "--tree=tar="+dir+"/layer.tar")
	res := h.mustPull(Request{Image: testName})
	if res.Layers[0].Cached || h.registry.requested() != 2 {
		t.Errorf("layers %+v, want both fetched: nobody knows what the stored one was made from", res.Layers)
	}
	if got, want := h.paths(testRef), "/ /usr /usr/bin /usr/bin/b /usr/etc /usr/etc/conf"; got != want {
		t.Errorf("merged paths %q, want %q", got, want)
	}
}

// TestStoredLayerWithOtherDiffID: an image can't borrow a stored layer under a diff ID that isn't
// the layer's.
func TestStoredLayerWithOtherDiffID(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.mustPull(Request{Image: testName})
	image.config["rootfs"].(map[string]any)["diff_ids"].([]any)[0] = digest.FromString("other")
	image.seal(t)
	if _, err := h.pull(Request{Image: testName}); KindOf(err) != KindDigestMismatch {
		t.Errorf("error %v, want kind DigestMismatch", err)
	}
}

func TestChangedPathRules(t *testing.T) {
	image := newImage(t, []string{"d . 755", "f var/x 1"})
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.im.rules.FactoryVar = true
	h.mustPull(Request{Image: testName})
	h.im.rules.FactoryVar = false
	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	h.must(p.Close())
	if plan := p.Plan(); !plan.AlreadyPresent || plan.LayersToFetch != 0 || plan.BytesToFetch != 0 || !plan.Layers[0].Cached {
		t.Errorf("plan %+v, want a complete image to be present though the path rules have changed", plan)
	}
	h.ostree("refs", "--delete", testRef)
	res := h.mustPull(Request{Image: testName})
	if got, want := h.paths(res.Commit), "/ /var /var/x"; got != want {
		t.Errorf("merged paths %q, want those of the new rules: %q", got, want)
	}
}

func TestImageRefConflict(t *testing.T) {
	registry := newRegistry("docker://example.com/os", twoLayers(t))
	registry.images["docker://example.com/os/extra:1"] = twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	h.mustPull(Request{Image: "docker://example.com/os"})
	refs := h.refs()
	h.registry.opened = nil
	_, err := h.pull(Request{Image: "docker://example.com/os/extra:1"})
	if KindOf(err) != KindInvalidReference || !strings.Contains(err.Error(), "docker://example.com/os ") || len(h.registry.opened) != 0 {
		t.Errorf("error %v after opening %v", err, h.registry.opened)
	}
	h.checkClean(refs)
	h.mustPull(Request{Image: "docker://example.com/os/extra:1", Target: "docker://example.com/extra:1"})
}

func TestProgress(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.mustPull(Request{Image: testName})
	h.ostree("refs", "--delete", testRef)
	h.ostree("refs", "--delete", strings.TrimSpace(h.ostree("refs", "--list", "ostree/container/blob/"+"sha256_3A_"+image.manifest.Layers[1].Digest.Encoded())))

	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	defer func() { h.must(p.Close()) }()
	var stages []Stage
	var last Progress
	_, err = p.Import(context.Background(), func(p Progress) {
		last = p
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	})
	h.must(err)
	if want := []Stage{StageFetch, StageMerge, StageLand, StageCollect}; !slices.Equal(stages, want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
	size := [2]uint64{uint64(image.manifest.Layers[0].Size), uint64(image.manifest.Layers[1].Size)}
	want := Progress{Stage: StageCollect, Fraction: maxFraction, LayersTotal: 2, LayersCached: 1, LayersDone: 1, Bytes: size[1], BytesCached: size[0], BytesTotal: size[1], Running: []LayerProgress{}}
	if toJSON(t, last) != toJSON(t, want) {
		t.Errorf("last progress %+v, want %+v", last, want)
	}
}

func TestLargestLayerFirst(t *testing.T) {
	image := newImage(t, []string{"f usr/a 1"}, []string{"f usr/b " + incompressible(4000)}, []string{"f usr/c " + incompressible(1000)})
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.mustPull(Request{Image: testName, Jobs: 1})
	l := image.manifest.Layers
	if want := []digest.Digest{l[1].Digest, l[2].Digest, l[0].Digest}; !slices.Equal(h.registry.blobs, want) {
		t.Errorf("layers were fetched in the order %v, want %v", h.registry.blobs, want)
	}
}
