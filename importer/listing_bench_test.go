package importer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// manyImages stores images without their files: each has layers that are all the next image's too,
// but for the lowest few.
func manyImages(b *testing.B, images, layers, own int) *testHost {
	b.Helper()
	h := newHost(b, ostreerepo.ModeBareUser, &testRegistry{})
	st, err := h.repo.NewStaging()
	h.must(err)
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	h.must(err)
	tree, err := st.WriteDirTree(objects.DirTree{})
	h.must(err)
	set := func(ref string, err error, metadata objects.Dict) {
		h.must(err)
		c, err := st.WriteCommit(objects.Commit{Metadata: metadata, Tree: tree, Meta: meta})
		h.must(err)
		h.must(st.SetRef(ref, c))
	}
	layer := func(i int) digest.Digest { return digest.FromString(fmt.Sprint("layer ", i)) }
	for i := range (images-1)*own + layers {
		ref, err := reference.BlobRef(layer(i))
		set(ref, err, objects.Dict{
			layertar.MetaImporter: objects.String(layertar.Importer), layertar.MetaRules: objects.String("2"),
			layertar.MetaDiffID: objects.String(layer(-i).String()), layertar.MetaImplied: objects.Strings([]string{"usr", "usr/lib", "usr/share"}),
		})
	}
	for i := range images {
		name, err := reference.Parse(fmt.Sprintf("docker://example.com/os:%04d", i))
		h.must(err)
		ref, err := reference.ImageRef(name.Image)
		set(ref, err, imageMetadata(b, layers, func(l int) digest.Digest { return layer(i*own + l) }))
	}
	h.must(st.Land(b.Context()))
	h.must(st.Close())
	return h
}

// imageMetadata is that of a merge commit.
func imageMetadata(b *testing.B, layers int, layer func(int) digest.Digest) objects.Dict {
	b.Helper()
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Annotations: map[string]string{ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"},
	}
	var diffIDs, history []any
	for l := range layers {
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: layer(l), Size: 1000})
		diffIDs = append(diffIDs, layer(l))
		history = append(history, map[string]any{"created": "2026-01-02T03:04:05.678Z", "created_by": "RUN dnf -y install " + strings.Repeat("package ", 10)})
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}, "history": history,
		"config": map[string]any{"Labels": map[string]any{ocispec.AnnotationVersion: "1.2", "containers.bootc": "1"}, "Env": []string{"PATH=/usr/bin"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	plan := Plan{Config: config, Manifest: []byte(toJSON(b, manifest))}
	plan.ManifestDigest = digest.FromBytes(plan.Manifest)
	metadata, err := plan.metadata()
	if err != nil {
		b.Fatal(err)
	}
	return metadata
}

// BenchmarkImages lists 1000 images of 20 layers each, 15 of which are the next image's too, and
// describes one of them.
func BenchmarkImages(b *testing.B) {
	h := manyImages(b, 1000, 20, 5)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			images, err := h.im.Images(context.Background())
			h.must(err)
			if len(images) != 1000 || images[500].Broken != "" || images[500].SizeShared != 20000 || images[0].SizeUnique != 5000 {
				b.Fatalf("%d images, one of which is %+v", len(images), images[500])
			}
		}
	})
	b.Run("show", func(b *testing.B) {
		for b.Loop() {
			if image, err := h.im.Image(context.Background(), "docker://example.com/os:0500"); err != nil || image.SizeShared != 20000 {
				b.Fatalf("%+v, %v", image, err)
			}
		}
	})
	objects, err := filepath.Glob(filepath.Join(h.repo.Path(), "objects/*/*.commit"))
	h.must(err)
	var size int64
	for _, path := range objects {
		info, err := os.Stat(path)
		h.must(err)
		size += info.Size()
	}
	b.Logf("%d commits, %d KiB", len(objects), size>>10)
}
