package e2e

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// badImage is an image whose second layer, or something around it, is wrong. The first layer is
// good.
type badImage struct {
	name    string
	entries []tar.Header // of the second layer, in place of a good one
	blob    []byte       // of the second layer, in place of a good one
	damage  func(*ocispec.Manifest, *ocispec.Image)
	layout  func(t *testing.T, img *ociimage.Image, blobs string) // changes the files of the written layout
	kind    importer.Kind
	code    int
	says    []string // parts of the message
	merged  bool     // only the merge finds the fault: the layers are sound, and stay
}

const layerTwo = "layer 2/2 sha256:"

var badImages = []badImage{
	{
		name:   "changed blob",
		layout: func(t *testing.T, img *ociimage.Image, blobs string) { change(t, blobs, img.Layers[1].Digest, flipped) },
		kind:   importer.KindDigestMismatch, code: 1, says: []string{"verify: " + layerTwo},
	},
	{
		name:   "truncated blob",
		layout: func(t *testing.T, img *ociimage.Image, blobs string) { change(t, blobs, img.Layers[1].Digest, halved) },
		kind:   importer.KindDigestMismatch, code: 1, says: []string{"verify: " + layerTwo},
	},
	{
		name:   "wrong size",
		damage: func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[1].Size++ },
		kind:   importer.KindDigestMismatch, code: 1, says: []string{"verify: " + layerTwo},
	},
	{
		name: "wrong diffID",
		damage: func(_ *ocispec.Manifest, c *ocispec.Image) {
			c.RootFS.DiffIDs = []digest.Digest{c.RootFS.DiffIDs[0], digest.FromString("another")}
		},
		kind: importer.KindDigestMismatch, code: 1, says: []string{"verify: " + layerTwo, "diff"},
	},
	{
		name:   "unknown media type",
		damage: func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[1].MediaType = "application/vnd.example.layer" },
		kind:   importer.KindUnsupportedImage, code: 1, says: []string{"layer 2/2", "application/vnd.example.layer"},
	},
	{
		name: "unknown compression", blob: bytes.Repeat([]byte("neither tar nor compressed "), 1000),
		kind: importer.KindUnsupportedImage, code: 1, says: []string{layerTwo},
	},
	{
		name:   "fewer diffIDs than layers",
		damage: func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1] },
		kind:   importer.KindUnsupportedImage, code: 1, says: []string{"2 layers", "1 diff"},
	},
	{
		name:   "manifest that isn't JSON",
		layout: func(t *testing.T, img *ociimage.Image, blobs string) { change(t, blobs, img.ManifestDigest, noise) },
		kind:   importer.KindUnsupportedImage, code: 1,
	},
	{
		name: "missing config",
		layout: func(t *testing.T, img *ociimage.Image, blobs string) {
			if err := os.Remove(filepath.Join(blobs, img.ConfigDigest.Encoded())); err != nil {
				t.Fatal(err)
			}
		},
		kind: importer.KindReferenceNotFound, code: 3, says: []string{"config"},
	},
	{
		name:   "config that isn't JSON",
		layout: func(t *testing.T, img *ociimage.Image, blobs string) { change(t, blobs, img.ConfigDigest, noise) },
		kind:   importer.KindDigestMismatch, code: 1, says: []string{"config"},
	},
	{
		name:    "path that leads out of the image",
		entries: []tar.Header{{Name: "usr/../../outside", Typeflag: tar.TypeReg, Mode: 0o644}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/../../outside"`},
	},
	{
		name:    "hard link to nowhere",
		entries: []tar.Header{{Name: "usr/link", Typeflag: tar.TypeLink, Linkname: "usr/nowhere"}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/link"`, "usr/nowhere"}, merged: true,
	},
	{
		name:    "device",
		entries: []tar.Header{{Name: "usr/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/null"`, "--drop-special-files"},
	},
	{
		name:    "fifo",
		entries: []tar.Header{{Name: "usr/fifo", Typeflag: tar.TypeFifo, Mode: 0o666}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/fifo"`, "--drop-special-files"},
	},
	{
		name:    "name that isn't UTF-8",
		entries: []tar.Header{{Name: "usr/\xff", Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatGNU}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/\xff"`},
	},
	{
		name:    "name that is too long",
		entries: []tar.Header{{Name: "usr/" + strings.Repeat("n", 256), Typeflag: tar.TypeReg, Mode: 0o644}},
		kind:    importer.KindUnsupportedImage, code: 1, says: []string{layerTwo, `entry "usr/nnn`},
	},
}

// Bad images change nothing, and the message says what is wrong where.
func TestBadImages(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	good := t.TempDir()
	if err := build(t, ociimage.Spec{}, files("good")).WriteLayout(good, "good"); err != nil {
		t.Fatal(err)
	}
	pulled(t, fixture.Run(t, s.bus.Ctl(t, "--json", "pull", "oci:"+good+":good")))
	before := fixture.Refs(t, s.repo)
	for _, bad := range badImages {
		t.Run(bad.name, func(t *testing.T) {
			out := fixture.Run(t, s.bus.Ctl(t, "pull", "oci:"+bad.write(t)+":bad"))
			if out.Code != bad.code {
				t.Errorf("exits %d, want %d", out.Code, bad.code)
			}
			for _, part := range bad.says {
				if !strings.Contains(out.Stderr, part) {
					t.Errorf("the message doesn't say %q:\n%s", part, out.Stderr)
				}
			}
			if kind := lastJob(t, s).ErrorKind; kind != bad.kind {
				t.Errorf("the error is %s, want %s:\n%s", kind, bad.kind, out.Stderr)
			}
			if bad.merged {
				before = fixture.Refs(t, s.repo)
			}
			wantUnchanged(t, s, before)
		})
	}
	fixture.Fsck(t, s.repo)
}

func wantUnchanged(t *testing.T, s *stage, before string) {
	t.Helper()
	if after := fixture.Refs(t, s.repo); after != before {
		t.Errorf("the refs were\n%sand are\n%s", before, after)
	}
	if left := fixture.Leftovers(t, s.repo); len(left) > 0 {
		t.Errorf("the repository's tmp has %q", left)
	}
}

// write writes the image as a layout and gives its directory.
func (b badImage) write(t *testing.T) string {
	t.Helper()
	second := ociimage.Layer{Tar: archive(t, b.entries), Compression: ociimage.Gzip}
	if b.blob != nil {
		second = ociimage.Layer{Tar: b.blob, Compression: ociimage.None}
	}
	first, err := files("good").Tar()
	if err != nil {
		t.Fatal(err)
	}
	spec := ociimage.Spec{Layers: []ociimage.Layer{{Tar: first, Compression: ociimage.Gzip}, second}, Damage: b.damage}
	img, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := img.WriteLayout(dir, "bad"); err != nil {
		t.Fatal(err)
	}
	if b.layout != nil {
		b.layout(t, img, filepath.Join(dir, "blobs", "sha256"))
	}
	return dir
}

// archive writes entries without content, or a good layer when there are none.
func archive(t *testing.T, entries []tar.Header) []byte {
	t.Helper()
	if entries == nil {
		good, err := files("second").Tar()
		if err != nil {
			t.Fatal(err)
		}
		return good
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// change rewrites a blob of a layout.
func change(t *testing.T, blobs string, d digest.Digest, how func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(blobs, d.Encoded())
	blob, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(blob), 0o644); err != nil {
		t.Fatal(err)
	}
}

func flipped(blob []byte) []byte {
	blob[len(blob)/2] ^= 0x40
	return blob
}

func halved(blob []byte) []byte { return blob[:len(blob)/2] }

func noise([]byte) []byte { return []byte("<html>not what was asked for</html>") }
