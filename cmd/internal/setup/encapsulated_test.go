package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// TestEncapsulated imports an encapsulated commit through the real skopeo, with
// a manifest that is larger than one message of its protocol.
func TestEncapsulated(t *testing.T) {
	fixture.Tool(t, "skopeo")
	tree := t.TempDir()
	for i := range 70 {
		path := filepath.Join(tree, fmt.Sprintf("usr/lib/file%d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "content %d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	from := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	fixture.MustRun(t, "ostree", "--repo="+from.Path(), "commit", "--branch=os", "--add-metadata-string=version=1", "--tree=dir="+tree)
	commit, err := from.Resolve("os")
	if err != nil {
		t.Fatal(err)
	}
	chunks := make([][]objects.Checksum, 64)
	for i, c := range encapsulated.Files(t, from, commit) {
		chunks[i%len(chunks)] = append(chunks[i%len(chunks)], c)
	}
	spec := ociimage.Spec{Layers: []ociimage.Layer{{Tar: encapsulated.CommitLayer(t, from, commit, encapsulated.Inline, chunks...), Compression: ociimage.Gzip}}}
	for _, chunk := range chunks {
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: encapsulated.Chunk(t, from, chunk, encapsulated.Inline), Compression: ociimage.Gzip})
	}
	spec.Labels = map[string]string{"ostree.final-diffid": digest.FromBytes(spec.Layers[len(chunks)].Tar).String()}
	spec.Damage = func(m *ocispec.Manifest, _ *ocispec.Image) {
		for i := range m.Layers {
			m.Layers[i].Annotations = map[string]string{"ostree.components": strings.Repeat("component,", 250)}
		}
	}
	built, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	if len(built.Manifest) < 128<<10 {
		t.Fatalf("the manifest has only %d bytes", len(built.Manifest))
	}
	dir := fixture.PublicDir(t)
	if err := built.WriteLayout(dir, "tag"); err != nil {
		t.Fatal(err)
	}

	repo := fixture.NewRepo(t, ostreerepo.ModeBare)
	log := logrus.New()
	log.SetOutput(t.Output())
	im := importer.New(importer.Config{Repo: repo, Open: openSource(log), Log: log})
	image := "oci:" + dir + ":tag"
	first, err := im.Unencapsulate(t.Context(), importer.UnencapsulateRequest{Image: image, Ref: "os", SkipGC: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.Commit != commit.String() || first.LayersFetched != 65 || first.ManifestDigest != built.ManifestDigest {
		t.Errorf("result %+v", first)
	}
	p, err := im.Prepare(t.Context(), importer.Request{Image: image})
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Import(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if res.BaseCommit == nil || *res.BaseCommit != commit.String() || res.BytesFetched != 0 {
		t.Errorf("result %+v", res)
	}
	fixture.Fsck(t, repo)
}
