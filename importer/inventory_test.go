package importer

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

func TestImages(t *testing.T) {
	image := twoLayers(t)
	image.config["history"] = []map[string]any{
		{"created_by": "COPY a", "created": "2026-01-01T00:00:00Z"},
		{"created_by": "ENV x", "empty_layer": true},
		{"created_by": "RUN b", "created": "some day"},
	}
	image.seal(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	if images, err := h.im.Images(context.Background()); err != nil || len(images) != 0 {
		t.Errorf("an empty repository has images %v, error %v", images, err)
	}
	res := h.mustPull(Request{Image: testName})
	images, err := h.im.Images(context.Background())
	h.must(err)
	if len(images) != 1 {
		t.Fatalf("images %+v", images)
	}
	got := images[0]
	if got.Reference != testName || got.ImageRef != testRef || got.ManifestDigest != image.digest || got.ConfigDigest != res.ConfigDigest ||
		got.Commit != res.Commit || got.Version != "1.2" || !got.Created.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) ||
		got.Manifest != nil || got.Config != nil || got.Broken != "" {
		t.Errorf("image %+v", got)
	}
	if l := image.manifest.Layers; got.Size != uint64(l[0].Size+l[1].Size) || toJSON(t, got.Filtered) != toJSON(t, res.Filtered) {
		t.Errorf("size %d, filtered %v", got.Size, got.Filtered)
	}
	layer := got.Layers[1]
	if layer.CreatedBy != "RUN b" || !layer.Created.IsZero() || layer.Commit != res.Layers[1].Commit || layer.DiffID != res.Layers[1].DiffID ||
		layer.Kind != "derived" || layer.Ref != res.Layers[1].Ref || got.Layers[0].Filtered["x"] != 1 || got.Layers[0].Created.Year() != 2026 {
		t.Errorf("layers %+v", got.Layers)
	}
}

func TestImage(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
	h.mustPull(Request{Image: testName})
	for _, form := range []string{testName, "ostree-unverified-registry:example.com/os:stable", "ostree-image-signed:" + testName, "example.com/os:stable"} {
		got, err := h.im.Image(context.Background(), form)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if got.Reference != testName || !strings.Contains(string(got.Manifest), "layers") || !strings.Contains(string(got.Config), "rootfs") {
			t.Errorf("%s: image %+v", form, got)
		}
	}
	if _, err := h.im.Image(context.Background(), "docker://example.com/os:other"); KindOf(err) != KindNoSuchImage {
		t.Errorf("error %v, want kind NoSuchImage", err)
	}
	if _, err := h.im.Image(context.Background(), "-"); KindOf(err) != KindInvalidReference {
		t.Errorf("error %v, want kind InvalidReference", err)
	}
}

// TestSizes: a layer is shared when another stored image has it too, be that broken.
func TestSizes(t *testing.T) {
	h := comparedHost(t, "ab", "ac", "d", "ee", "fg", "gf")
	partial := func(name string) {
		image, err := h.im.storedImage("docker://example.com/os:" + name)
		h.must(err)
		writeFile(t, filepath.Join(h.repo.Path(), "state", image.Commit.String()+".commitpartial"), nil)
	}
	partial("fg")
	unreadable := compared(t, "d")
	h.commitOther(reference.ImagePrefix+"/docker_3A__2F__2F_example_2E_com/os_3A_x", "ostree.manifest={", "ostree.manifest-digest="+unreadable.digest.String())
	images, err := h.im.Images(t.Context())
	h.must(err)
	want := map[string]struct{ unique, shared string }{
		"ab": {"b", "a"}, "ac": {"c", "a"}, "d": {"d", ""}, "ee": {"e", ""}, "fg": {"", "fg"}, "gf": {"", "gf"}, "x": {"", ""},
	}
	for _, image := range images {
		name := strings.TrimPrefix(image.Reference, "docker://example.com/os:")
		unique, shared := sizeOf(t, want[name].unique), sizeOf(t, want[name].shared)
		if image.SizeUnique != unique || image.SizeShared != shared || image.Size != unique+shared {
			t.Errorf("%s: %d unique and %d shared of %d, want %d and %d", name, image.SizeUnique, image.SizeShared, image.Size, unique, shared)
		}
		if broken := name == "fg" || name == "x"; (image.Broken != "") != broken {
			t.Errorf("%s: broken %q", name, image.Broken)
		}
		one, err := h.im.Image(t.Context(), image.Reference)
		h.must(err)
		one.Manifest, one.Config = nil, nil
		if got, want := toJSON(t, one), toJSON(t, image); got != want {
			t.Errorf("shown as\n%s\nlisted as\n%s", got, want)
		}
	}
	if len(images) != len(want) {
		t.Errorf("%d images", len(images))
	}
}

func TestInventoryIsCanceled(t *testing.T) {
	h := comparedHost(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.im.Images(ctx); KindOf(err) != KindCanceled {
		t.Errorf("list: %v", err)
	}
	if _, err := h.im.Image(ctx, "docker://example.com/os:a"); KindOf(err) != KindCanceled {
		t.Errorf("show: %v", err)
	}
}

// commitOther writes an image's merge commit with the ostree command, as other tools do.
func (h *testHost) commitOther(ref string, metadata ...string) {
	h.Helper()
	args := []string{"commit", "--no-bindings", "--branch=" + ref, "--tree=dir=" + h.TB.(*testing.T).TempDir()}
	for _, m := range metadata {
		args = append(args, "--add-metadata-string="+m)
	}
	h.ostree(args...)
}

func TestBrokenImages(t *testing.T) {
	image := twoLayers(t)
	manifest := "ostree.manifest=" + string(image.rawManifest)
	dgst := "ostree.manifest-digest=" + image.digest.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	h.mustPull(Request{Image: testName})
	const prefix = "ostree/container/image/docker_3A__2F__2F_example_2E_com/"
	cases := []struct {
		ref    string
		make   func(ref string)
		broken string // "" for none
	}{
		{prefix + "digest_3A_1", func(ref string) { h.commitOther(ref, manifest) }, "no metadata ostree.manifest-digest"},
		{prefix + "manifest_3A_1", func(ref string) { h.commitOther(ref, dgst) }, "no metadata ostree.manifest;"},
		{prefix + "json_3A_1", func(ref string) { h.commitOther(ref, dgst, "ostree.manifest={") }, "not valid JSON"},
		{prefix + "config_3A_1", func(ref string) { h.commitOther(ref, dgst, manifest, stored.MetaConfig+"=[") }, "not valid JSON"},
		{prefix + "noconfig_3A_1", func(ref string) { h.commitOther(ref, dgst, manifest, "other=1") }, ""},
		{prefix + "null_3A_1", func(ref string) { h.commitOther(ref, manifest, dgst, stored.MetaConfig+"=null") }, ""},
		{prefix + "by.hand", func(ref string) { h.commitOther(ref, dgst, manifest) }, "ostree refs --delete " + prefix + "by.hand"},
		{prefix + "gone_3A_1", func(ref string) {
			h.commitOther(ref, dgst, manifest, "x=1")
			h.removeObject(strings.TrimSpace(h.ostree("rev-parse", ref)), "commit")
		}, "no such object"},
		{prefix + "garbage_3A_1", func(ref string) { writeFile(t, h.repo.Path()+"/refs/heads/"+ref, []byte("garbage\n")) }, "ostree refs --delete " + prefix + "garbage_3A_1"},
	}
	for _, c := range cases {
		c.make(c.ref)
	}
	images, err := h.im.Images(context.Background())
	h.must(err)
	byRef := map[string]Image{}
	for _, image := range images {
		byRef[image.ImageRef] = image
	}
	if len(images) != len(cases)+1 || byRef[testRef].Broken != "" {
		t.Errorf("images %+v", images)
	}
	for _, c := range cases {
		got := byRef[c.ref].Broken
		if (got == "") != (c.broken == "") || !strings.Contains(got, c.broken) {
			t.Errorf("%s: broken %q, want …%s…", c.ref, got, c.broken)
		}
	}
	if got := byRef[prefix+"null_3A_1"]; len(got.Layers) != 2 || got.ManifestDigest != image.digest || got.Version != "" {
		t.Errorf("image without a config: %+v", got)
	}
	one, err := h.im.Image(context.Background(), "docker://example.com/json:1")
	h.must(err)
	if one.Broken == "" || one.Manifest != nil || one.ManifestDigest != image.digest {
		t.Errorf("a broken image: %+v", one)
	}
	toJSON(t, one)
	one, err = h.im.Image(context.Background(), "docker://example.com/null:1")
	h.must(err)
	if one.Config != nil || one.Manifest == nil {
		t.Errorf("an image with the config null: %+v", one)
	}

	h.ostree("refs", "--delete", byRef[testRef].Layers[1].Ref)
	one, err = h.im.Image(context.Background(), testName)
	h.must(err)
	if !strings.HasPrefix(one.Broken, "layer 2/2 sha256:") || one.Layers[1].Commit != "" {
		t.Errorf("an image whose layer is gone: %+v", one)
	}
	h.registry.images["docker://example.com/garbage:1"] = image
	if _, err := h.pull(Request{Image: "docker://example.com/garbage:1"}); KindOf(err) != KindCorrupted || !strings.Contains(err.Error(), "ostree refs --delete") {
		t.Errorf("error %v, want kind Corrupted with its repair", err)
	}
	h.registry.requested()
	h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 1 {
		t.Errorf("%d layers were fetched, want 1", n)
	}
}

func TestLayerKinds(t *testing.T) {
	var c document.Config
	c.RootFS.DiffIDs = []digest.Digest{"sha256:a", "sha256:b", "sha256:c"}
	for label, want := range map[string]string{
		"":         "derived derived derived",
		"sha256:a": "ostree-commit derived derived",
		"sha256:b": "ostree-commit ostree-chunk derived",
		"sha256:x": "derived derived derived",
	} {
		c.Config.Labels = map[string]string{document.LabelFinalDiffID: label}
		if got := strings.Join(document.Kinds(&c, 3), " "); got != want {
			t.Errorf("label %q: %s, want %s", label, got, want)
		}
	}
}
