package importer

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// uncompressed gives the image with its layers as they are without compression, and so under other
// digests.
func uncompressed(t testing.TB, archives ...[]byte) *testImage {
	t.Helper()
	image := imageOf(t, archives...)
	image.manifest.Layers = nil
	for _, raw := range archives {
		image.addLayer(raw)
		image.manifest.Layers[len(image.manifest.Layers)-1].MediaType = ocispec.MediaTypeImageLayer
	}
	return image.seal(t)
}

// TestReuseByDiffID: a layer that is here under another digest is not fetched.
func TestReuseByDiffID(t *testing.T) {
	one, two := archive(t, "d . 755", "f usr/one 1"), archive(t, "f usr/two 2", "f etc/x 1")
	image, other := imageOf(t, one, two), uncompressed(t, one, two)
	const otherName = "docker://example.com/os:uncompressed"
	registry := newRegistry(testName, image)
	registry.images[otherName] = other
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	first := h.mustPull(Request{Image: testName})
	h.ostree("refs", "--create=ostree/container/blob/"+strings.Repeat("0", 64), first.Layers[1].Commit) // not what a digest looks like
	h.ostree("refs", "--delete", first.Layers[1].Ref)
	h.registry.requested()

	p, err := h.im.Prepare(context.Background(), Request{Image: otherName})
	h.must(err)
	plan := p.Plan()
	if l := plan.Layers[0]; !l.Cached || l.ReusedFrom != image.manifest.Layers[0].Digest || l.Commit != first.Layers[0].Commit || plan.LayersToFetch != 1 ||
		plan.BytesToFetch != uint64(len(two)) {
		t.Errorf("plan %+v", plan)
	}
	res, err := p.Import(context.Background(), nil)
	h.must(err)
	h.must(p.Close())
	if n := h.registry.requested(); n != 1 || !res.Layers[0].Cached || res.Layers[0].Commit != first.Layers[0].Commit || strings.TrimSpace(h.ostree("rev-parse", res.Layers[0].Ref)) != first.Layers[0].Commit {
		t.Errorf("%d layers were fetched for %+v", n, res)
	}
	if got, want := h.paths(otherRef(t, otherName)), h.paths(testRef); got != want {
		t.Errorf("the images differ: %s and %s", got, want)
	}
	h.checkClean(h.refs())
	if res := h.mustPull(Request{Image: otherName}); !res.AlreadyPresent {
		t.Error("the image is not complete")
	}
}

func otherRef(t testing.TB, name string) string {
	t.Helper()
	image, err := reference.ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.ImageRef(image)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestNoReuse: what is here under other rules, or what nobody has verified, is not the layer.
func TestNoReuse(t *testing.T) {
	files := []string{"f usr/one 1", "f opt/two 2"}
	raw := archive(t, files...)
	plain := uncompressed(t, raw)
	cases := []struct {
		name  string
		store func(h *testHost)
		image *testImage
	}{
		{"other rules", func(h *testHost) { h.mustPull(Request{Image: testName}) }, newSystem(t, plainSystem).image(0, files)},
		{"nobody says its diff ID", func(h *testHost) {
			dir := t.TempDir()
			writeFile(t, dir+"/layer.tar", raw)
			h.ostree("commit", "--add-metadata-string=ostree.importer.version=1", "--branch="+plain.ref(t, 0), "--tree=tar="+dir+"/layer.tar", "--tar-autocreate-parents")
		}, imageOf(t, raw)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			const otherName = "docker://example.com/os:other"
			h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: map[string]*testImage{testName: plain, otherName: c.image}})
			c.store(h)
			h.registry.requested()
			res := h.mustPull(Request{Image: otherName})
			if n := h.registry.requested(); n != len(res.Layers) {
				t.Errorf("%d layers were fetched, want all %d", n, len(res.Layers))
			}
		})
	}
}

// storage is a registry that keeps the layers uncompressed, as a container engine's storage does.
type storage struct {
	*testRegistry
	image  *testImage
	layers []ocispec.Descriptor
}

func (s *storage) Open(ctx context.Context, image reference.Image, access Access) (Source, error) {
	source, err := s.testRegistry.Open(ctx, image, access)
	return storageSource{source, s}, err
}

type storageSource struct {
	Source
	storage *storage
}

func (s storageSource) Layers(context.Context) ([]ocispec.Descriptor, error) {
	return s.storage.layers, nil
}

// TestLayersStoredUncompressed: a layer may come under its diff ID, and is verified by that.
func TestLayersStoredUncompressed(t *testing.T) {
	archives := [][]byte{archive(t, "d . 755", "f usr/one 1"), archive(t, "f usr/two 2")}
	setup := func(t *testing.T) (*testHost, *storage) {
		image := imageOf(t, archives...)
		s := &storage{testRegistry: newRegistry(testName, image), image: image}
		image.blobs = map[digest.Digest][]byte{}
		for _, raw := range archives {
			image.blobs[digest.FromBytes(raw)] = raw
			s.layers = append(s.layers, ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: -1})
		}
		s.layers[1].Size = int64(len(archives[1]))
		h := newHost(t, ostreerepo.ModeBareUser, s.testRegistry)
		h.im.open = s.Open
		return h, s
	}
	t.Run("good", func(t *testing.T) {
		h, s := setup(t)
		res := h.mustPull(Request{Image: testName})
		if res.Layers[0].Ref != s.image.ref(t, 0) || res.BytesFetched != uint64(len(archives[0])+len(archives[1])) {
			t.Errorf("result %+v", res)
		}
		if got, want := h.paths(testRef), "/ /usr /usr/one /usr/two"; got != want {
			t.Errorf("merged paths %q, want %q", got, want)
		}
		h.checkClean(h.refs())
	})
	for _, c := range []struct {
		name   string
		change func(s *storage)
		kind   Kind
		want   string
	}{
		{"another layer", func(s *storage) { s.layers[0] = s.layers[1] }, KindFailed, "neither its digest nor its diff ID"},
		{"layers are missing", func(s *storage) { s.layers = s.layers[:1] }, KindFailed, "has 1 layers"},
		{"another size", func(s *storage) { s.layers[1].Size++ }, KindDigestMismatch, "layer 2/2"},
		{"other content", func(s *storage) {
			changed := slices.Clone(archives[0])
			changed[600] ^= 1
			s.image.blobs[s.layers[0].Digest] = changed
		}, KindDigestMismatch, "layer 1/2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, s := setup(t)
			c.change(s)
			_, err := h.pull(Request{Image: testName})
			if KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want kind %s: …%s…", err, c.kind, c.want)
			}
			h.checkClean(h.refs())
		})
	}
}
