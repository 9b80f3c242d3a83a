package importer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// compared makes images of which the histories name the layers; one letter is one layer. A layer
// has the file of its name, and one that all have.
func compared(t testing.TB, layers string) *testImage {
	t.Helper()
	var archives [][]byte
	var history []map[string]any
	for _, name := range layers {
		archives = append(archives, archive(t, fmt.Sprintf("f usr/%c %s", name, incompressible(1000*int(name-'a'+1))), fmt.Sprintf("f usr/all %c", name)))
		history = append(history, map[string]any{"created_by": fmt.Sprintf("COPY %c", name)})
	}
	image := imageOf(t, archives...)
	image.config["history"] = history
	image.label(ocispec.AnnotationVersion, layers)
	return image.seal(t)
}

// comparedHost stores the images os:a etc., which have the layers that they are named by.
func comparedHost(t testing.TB, names ...string) *testHost {
	t.Helper()
	h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: map[string]*testImage{}})
	for _, name := range names {
		h.registry.images["docker://example.com/os:"+name] = compared(t, name)
		h.mustPull(Request{Image: "docker://example.com/os:" + name})
	}
	h.registry.requested()
	return h
}

// layersText names layers by what their history says.
func layersText(layers []ComparedLayer) string {
	var names []string
	for _, l := range layers {
		names = append(names, strings.TrimPrefix(l.CreatedBy, "COPY "))
	}
	return strings.Join(names, "")
}

// sizeOf sums up the sizes of distinct layers by their names.
func sizeOf(t testing.TB, names string) uint64 {
	t.Helper()
	if names == "" {
		return 0
	}
	var size uint64
	for _, l := range compared(t, names).manifest.Layers {
		size += uint64(l.Size)
	}
	return size
}

func TestCompare(t *testing.T) {
	h := comparedHost(t, "abc", "abd", "e", "aba", "cba")
	for _, c := range []struct{ from, to, added, removed, kept string }{
		{"abc", "abd", "d", "c", "ab"},
		{"abd", "abc", "c", "d", "ab"},
		{"abc", "abc", "", "", "abc"},
		{"abc", "e", "e", "abc", ""},
		{"abc", "aba", "", "c", "ab"},
		{"aba", "abc", "c", "", "ab"},
		{"abc", "cba", "", "", "cba"},
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			res, err := h.im.Compare(t.Context(), CompareRequest{Image: "docker://example.com/os:" + c.from, Other: "example.com/os:" + c.to})
			h.must(err)
			if layersText(res.Added) != c.added || layersText(res.Removed) != c.removed || layersText(res.Kept) != c.kept {
				t.Errorf("added %s, removed %s, kept %s", layersText(res.Added), layersText(res.Removed), layersText(res.Kept))
			}
			if res.BytesAdded != sizeOf(t, c.added) || res.BytesRemoved != sizeOf(t, c.removed) || res.BytesKept != sizeOf(t, c.kept) || res.BytesToFetch != 0 {
				t.Errorf("bytes of %+v", res)
			}
			for i, side := range []ComparedImage{res.From, res.To} {
				name := []string{c.from, c.to}[i]
				image, err := h.im.Image(t.Context(), "docker://example.com/os:"+name)
				h.must(err)
				if side.Reference != image.Reference || side.ManifestDigest != image.ManifestDigest || side.Version != name || side.Commit != image.Commit || !side.Created.Equal(image.Created) {
					t.Errorf("%s is described as %+v", name, side)
				}
			}
			if text := toJSON(t, res); strings.Contains(text, "null") || strings.Contains(text, `"files"`) {
				t.Errorf("%s", text)
			}
		})
	}
}

// Of images that are not stored their origins are asked, if that is wanted.
func TestCompareNotStored(t *testing.T) {
	h := comparedHost(t, "abc")
	stored := "docker://example.com/os:abc"
	for _, tag := range []string{"abd", "xyz"} {
		h.registry.images["docker://example.com/new:"+tag] = compared(t, tag)
	}
	refs := h.refs()
	for _, c := range []struct{ from, to, added, removed, fetch string }{
		{"docker://example.com/new:abd", "example.com/new:xyz", "xyz", "abd", "xyz"},
		{"docker://example.com/new:xyz", "example.com/new:abd", "abd", "xyz", "d"},
		{stored, "docker://example.com/new:abd", "d", "c", "d"},
		{"docker://example.com/new:abd", stored, "c", "d", ""},
		{"docker://example.com/new:abd", "docker://example.com/new:abd", "", "", "d"},
	} {
		res, err := h.im.Compare(t.Context(), CompareRequest{Image: c.from, Other: c.to, ImageNotStored: true, OtherNotStored: true})
		h.must(err)
		if layersText(res.Added) != c.added || layersText(res.Removed) != c.removed || res.BytesToFetch != sizeOf(t, c.fetch) {
			t.Errorf("%s to %s: added %s, removed %s, to fetch %d", c.from, c.to, layersText(res.Added), layersText(res.Removed), res.BytesToFetch)
		}
		if res.From.Reference != c.from || (res.From.Commit != "") != (c.from == stored) || res.To.ManifestDigest == "" {
			t.Errorf("from %+v to %+v", res.From, res.To)
		}
	}
	for _, c := range []struct {
		req  CompareRequest
		kind Kind
	}{
		{CompareRequest{Image: stored, Other: "example.com/new:abd", OtherNotStored: true, Files: true}, KindInvalidOption},
		{CompareRequest{Image: "example.com/new:abd", Other: stored, ImageNotStored: true, Files: true}, KindInvalidOption},
		{CompareRequest{Image: "example.com/new:abd", ImageNotStored: true}, KindNoSuchImage},
		{CompareRequest{Image: stored, Other: "example.com/none:1", OtherNotStored: true}, KindReferenceNotFound},
	} {
		if _, err := h.im.Compare(t.Context(), c.req); KindOf(err) != c.kind {
			t.Errorf("%+v: %v, want %s", c.req, err, c.kind)
		}
	}
	if n := h.registry.requested(); n != 0 || h.registry.open != 0 || h.refs() != refs {
		t.Errorf("%d layers were fetched, %d images are open, the refs are %s", n, h.registry.open, h.refs())
	}
}

func TestCompareWithOrigin(t *testing.T) {
	h := comparedHost(t, "abc", "d")
	name, refs := "docker://example.com/os:abc", h.refs()
	for _, c := range []struct{ now, added, removed, fetch string }{
		{"abc", "", "", ""},
		{"abe", "e", "c", "e"},
		{"abd", "d", "c", ""}, // another image has it
		{"adfe", "dfe", "bc", "ef"},
		{"aff", "f", "bc", "f"},
	} {
		image := compared(t, c.now)
		h.registry.images[name] = image
		res, err := h.im.Compare(t.Context(), CompareRequest{Image: name})
		h.must(err)
		if layersText(res.Added) != c.added || layersText(res.Removed) != c.removed || res.BytesAdded != sizeOf(t, c.added) || res.BytesToFetch != sizeOf(t, c.fetch) {
			t.Errorf("%s: added %s (%d bytes), removed %s, to fetch %d bytes", c.now, layersText(res.Added), res.BytesAdded, layersText(res.Removed), res.BytesToFetch)
		}
		if res.To.ManifestDigest != image.digest || res.To.Version != c.now || res.To.Commit != "" || res.To.Reference != res.From.Reference {
			t.Errorf("%s: from %+v to %+v", c.now, res.From, res.To)
		}
	}
	// Without its own ref a layer is to be fetched, though the image's tree still holds its files.
	h.registry.images[name] = compared(t, "abd")
	h.ostree("refs", "--delete", h.registry.images["docker://example.com/os:d"].ref(t, 0))
	if res, err := h.im.Compare(t.Context(), CompareRequest{Image: name}); err != nil || res.BytesToFetch != sizeOf(t, "d") {
		t.Errorf("%+v, %v", res, err)
	}
	if n := h.registry.requested(); n != 0 || h.registry.open != 0 {
		t.Errorf("%d layers were fetched, %d sources are open", n, h.registry.open)
	}
	if got := h.refs(); len(got) >= len(refs) {
		t.Errorf("refs are %s, were %s", got, refs)
	}
}

func TestCompareFiles(t *testing.T) {
	h := comparedHost(t, "ab", "ac", "ba")
	for _, c := range []struct{ to, want string }{
		{"ab", "[]"},
		{"ac", `[{"path":"/usr/all","change":"changed","what":"content"},{"path":"/usr/b","change":"removed"},{"path":"/usr/c","change":"added"}]`},
		{"ba", `[{"path":"/usr/all","change":"changed","what":"content"}]`},
	} {
		res, err := h.im.Compare(t.Context(), CompareRequest{Image: "example.com/os:ab", Other: "example.com/os:" + c.to, Files: true})
		h.must(err)
		if got := toJSON(t, append([]FileChange{}, res.Files...)); got != c.want {
			t.Errorf("to %s: %s, want %s", c.to, got, c.want)
		}
	}
}

func TestCompareErrors(t *testing.T) {
	h := comparedHost(t, "a", "b", "c", "d")
	const good = "example.com/os:a"
	h.removeObject(h.objectOf("example.com/os:b", "usr"), "dirtree")
	h.removeObject(h.objectOf("example.com/os:c", ""), "dirtree")
	delete(h.registry.images, "docker://example.com/os:d")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		req  CompareRequest
		kind Kind
		text string
	}{
		{"no reference", t.Context(), CompareRequest{Image: "-", Other: good}, KindInvalidReference, ""},
		{"no other reference", t.Context(), CompareRequest{Image: good, Other: "-"}, KindInvalidReference, ""},
		{"not stored", t.Context(), CompareRequest{Image: "example.com/none:1", Other: good}, KindNoSuchImage, "none:1"},
		{"other not stored", t.Context(), CompareRequest{Image: good, Other: "example.com/none:1"}, KindNoSuchImage, "none:1"},
		{"files of the origin", t.Context(), CompareRequest{Image: good, Files: true}, KindInvalidOption, "--target"},
		{"gone from its origin", t.Context(), CompareRequest{Image: "example.com/os:d"}, KindReferenceNotFound, ""},
		{"files of a damaged image", t.Context(), CompareRequest{Image: good, Other: "example.com/os:b", Files: true}, KindCorrupted, "dirtree"},
		{"a damaged image", t.Context(), CompareRequest{Image: "example.com/os:c", Other: good}, KindCorrupted, "verify --repair"},
		{"another damaged image", t.Context(), CompareRequest{Image: good, Other: "example.com/os:c"}, KindCorrupted, "verify --repair"},
		{"canceled at the origin", canceled, CompareRequest{Image: good}, KindCanceled, ""},
		{"canceled over files", canceled, CompareRequest{Image: good, Other: "example.com/os:d", Files: true}, KindCanceled, ""},
	} {
		if _, err := h.im.Compare(c.ctx, c.req); KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want the kind %s and …%s…", c.name, err, c.kind, c.text)
		}
	}
	if res, err := h.im.Compare(t.Context(), CompareRequest{Image: good, Other: "example.com/os:b"}); err != nil || layersText(res.Added) != "b" {
		t.Errorf("the layers of one with damaged files: %+v, %v", res, err)
	}
	if h.registry.open != 0 {
		t.Errorf("%d sources are open", h.registry.open)
	}
}

// objectOf gives the checksum of a directory's dirtree in an image, "" being its root.
func (h *testHost) objectOf(image, path string) string {
	h.Helper()
	stored, err := h.im.storedImage(image)
	h.must(err)
	if path == "" {
		return stored.Object.Tree.String()
	}
	found, err := ostreerepo.Lookup(h.repo, stored.Object.Tree, path)
	h.must(err)
	return found.Dir.Tree.String()
}
