package setup

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// TestContainerStorage imports an image out of a container engine's storage,
// which keeps layers uncompressed, under their diff IDs. Only its user can read
// it, so the proxy runs as that one.
func TestContainerStorage(t *testing.T) {
	fixture.Tool(t, "skopeo")
	var spec ociimage.Spec
	for _, name := range []string{"usr/one", "usr/two"} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		content := strings.Repeat(name, 10_000)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: b.Bytes(), Compression: ociimage.Gzip})
	}
	built, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := built.WriteLayout(dir+"/layout", "tag"); err != nil {
		t.Fatal(err)
	}
	image := "containers-storage:[vfs@" + dir + "/storage+" + dir + "/run]localhost/os:tag"
	fixture.MustRun(t, "skopeo", "--insecure-policy", "copy", "oci:"+dir+"/layout:tag", image)

	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	log := logrus.New()
	log.SetOutput(t.Output())
	im := importer.New(importer.Config{Repo: repo, Open: openSource(log), Log: log})
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
	for i, l := range res.Layers {
		if l.DiffID != built.DiffIDs[i] || l.Digest != built.Layers[i].Digest {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	tree, err := fixture.ReadCommit(repo, res.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if string(tree["usr/two"].Content) != strings.Repeat("usr/two", 10_000) {
		t.Errorf("the tree holds %v", tree)
	}
	fixture.Fsck(t, repo)
}
