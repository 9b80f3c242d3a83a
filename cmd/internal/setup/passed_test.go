package setup

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestPassedImageIsReadWithTheCallersRights opens a layout for users who may read all, or not all,
// of it.
func TestPassedImageIsReadWithTheCallersRights(t *testing.T) {
	needs.Root(t)
	fixture.Tool(t, "skopeo")
	const owner, member, stranger = 4242, 4343, 4444
	for _, test := range []struct {
		name   string
		rights dirfd.Rights
		spoil  func(dir string) error
		want   importer.Kind
	}{
		{"owner", dirfd.Rights{UID: owner, GID: owner}, nil, ""},
		{"member of the group", dirfd.Rights{UID: member, GID: member, Groups: []uint32{owner}}, nil, ""},
		{"stranger", dirfd.Rights{UID: stranger, GID: stranger}, nil, importer.KindAccessDenied},
		{"root's file", dirfd.Rights{UID: owner, GID: owner}, func(dir string) error {
			return os.Chown(filepath.Join(dir, "index.json"), 0, 0)
		}, importer.KindAccessDenied},
		{"link to root's file", dirfd.Rights{UID: owner, GID: owner}, func(dir string) error {
			index := filepath.Join(dir, "index.json")
			if err := os.Rename(index, dir+"-elsewhere"); err != nil {
				return err
			}
			return os.Symlink(dir+"-elsewhere", index)
		}, importer.KindReferenceNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(fixture.PublicDir(t), "image")
			built, err := ociimage.Spec{Layers: []ociimage.Layer{{Tar: make([]byte, maxCopied+10240)}}}.Build()
			if err == nil {
				err = built.WriteLayout(dir, "tag")
			}
			if err == nil && test.spoil != nil {
				err = test.spoil(dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			fixture.MustRun(t, "chown", "-R", "--from=0:0", "4242:4242", filepath.Join(dir, "blobs"), dir+"/oci-layout")
			if err := os.Chown(dir, owner, owner); err != nil {
				t.Fatal(err)
			}
			if test.spoil == nil {
				fixture.MustRun(t, "chown", "-R", "4242:4242", dir)
			}
			fixture.MustRun(t, "chmod", "-R", "u=rwX,g=rX,o=", dir)

			f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			d, err := importer.NewDescriptor(f)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.Close)
			d.SetRights(&test.rights)
			image := reference.Image{Transport: reference.TransportOCI, Name: "/elsewhere:tag"}
			source, err := openSource(logrus.New())(t.Context(), image, importer.Access{Anonymous: true}.With(d))
			if err == nil {
				err = readLayer(t, source, built)
			}
			if kind := importer.KindOf(err); kind != test.want {
				t.Errorf("got %q (%v), want %q", kind, err, test.want)
			}
		})
	}
}

// readLayer reads the image's only layer.
func readLayer(t *testing.T, source importer.Source, built *ociimage.Image) error {
	t.Helper()
	defer source.Close()
	raw, dgst, err := source.Manifest(t.Context())
	if err != nil {
		return err
	}
	if dgst != built.ManifestDigest || string(raw) != string(built.Manifest) {
		t.Errorf("another manifest, %s", dgst)
	}
	layers, err := source.(importer.LayerSource).Layers(t.Context())
	if err != nil {
		return err
	}
	stream, err := source.Blob(t.Context(), layers[0])
	if err != nil {
		return err
	}
	defer stream.Close()
	n, err := io.Copy(io.Discard, stream)
	if err == nil && n != layers[0].Size {
		t.Errorf("the layer has %d bytes, want %d", n, layers[0].Size)
	}
	return err
}
