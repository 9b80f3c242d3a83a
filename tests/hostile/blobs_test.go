//go:build hostile

package hostile

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// blobRow is a row for an image whose layer has the blob that spoil makes of a good archive.
func blobRow(name, want, says, mediaType string, spoil func(good []byte) []byte) row {
	uncompressed := layer()
	return specRow(name, want, says, ociimage.Spec{
		Layers: []ociimage.Layer{{Tar: spoil(uncompressed), Compression: ociimage.None}},
		Damage: func(m *ocispec.Manifest, c *ocispec.Image) {
			m.Layers[0].MediaType = mediaType
			c.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(uncompressed)}
		},
	})
}

// filesRow is a row for an image whose files in the layout are changed after it was made.
func filesRow(name, want, says string, change func(img *ociimage.Image, layout string) error) row {
	return row{name: name, want: want, says: says, ask: func(t *testing.T, s *stage) error {
		img, err := configured(nil).Build()
		if err != nil {
			return err
		}
		layout := t.TempDir()
		if err := img.WriteLayout(layout, "t"); err != nil {
			return err
		}
		if err := change(img, layout); err != nil {
			return err
		}
		return s.pull("oci:"+layout+":t", nil)
	}}
}

// layerFile changes the file of the layer.
func layerFile(change func([]byte) []byte) func(*ociimage.Image, string) error {
	return func(img *ociimage.Image, layout string) error {
		path := blobPath(layout, img.Layers[0].Digest)
		blob, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(blob), 0o644)
	}
}

func blobPath(layout string, d digest.Digest) string {
	return filepath.Join(layout, "blobs", "sha256", d.Encoded())
}

func gzipped(data []byte) []byte {
	blob, err := ociimage.Gzip.Compress(data)
	if err != nil {
		panic(err)
	}
	return blob
}

// zstdWindow compresses with a frame whose header asks for a window of this size.
func zstdWindow(data []byte, window int) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Flush(); err != nil { // now, so that the size is not known when the header is written
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// xzDictionary compresses with a dictionary of this size.
func xzDictionary(data []byte, size int) []byte {
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: size}.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// xzDictionaryHeader makes a stream's only block ask for a dictionary of 1 GiB: the property of its
// filter (the fourth byte of the block's header behind size, flags and filter id) is the exponent,
// and the header's checksum is made to fit.
func xzDictionaryHeader(stream []byte) []byte {
	b := bytes.Clone(stream)
	header := b[12:]
	size := (int(header[0]) + 1) * 4
	at := bytes.Index(header[:size], []byte{0x21, 0x01})
	header[at+2] = 36
	binary.LittleEndian.PutUint32(header[size-4:], crc32.ChecksumIEEE(header[:size-4]))
	return b
}

// layersRow is a row for an image of many layers, each of an archive with a file of its own.
func layersRow(name string, n int, mediaType string, compress func([]byte) []byte) row {
	var diffIDs []digest.Digest
	spec := ociimage.Spec{}
	for range n {
		data := layer()
		diffIDs = append(diffIDs, digest.FromBytes(data))
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: compress(data), Compression: ociimage.None})
	}
	spec.Damage = func(m *ocispec.Manifest, c *ocispec.Image) {
		for i := range m.Layers {
			m.Layers[i].MediaType = mediaType
		}
		c.RootFS.DiffIDs = diffIDs
	}
	return row{name: name, limit: 60 * time.Second, ask: func(t *testing.T, s *stage) error {
		return s.pull(layoutOf(t, spec), options{"jobs": uint32(n)})
	}}
}

// withoutEnd leaves out the last n bytes of what compress makes.
func withoutEnd(n int, compress func([]byte) []byte) func([]byte) []byte {
	return func(good []byte) []byte {
		blob := compress(good)
		return blob[:len(blob)-n]
	}
}

// followed puts something behind what is compressed.
func followed(by []byte) func([]byte) []byte {
	return func(good []byte) []byte { return append(gzipped(good), by...) }
}

func window(size int) func([]byte) []byte {
	return func(good []byte) []byte { return zstdWindow(good, size) }
}

func dictionary(size int) func([]byte) []byte {
	return func(good []byte) []byte { return xzDictionary(good, size) }
}

// zerosRow is a row for an archive that is followed by many zeros.
func zerosRow(name, want string, n int) row {
	return specRow(name, want, "", ociimage.Spec{Layers: []ociimage.Layer{{Tar: append(layer(), make([]byte, n)...), Compression: ociimage.Gzip}}})
}

// blobRows are about what layers are before they are archives.
func blobRows() []row {
	const (
		bad, wrong = "UnsupportedImage", "DigestMismatch"
		gz         = ocispec.MediaTypeImageLayerGzip
		zs         = ocispec.MediaTypeImageLayerZstd
		plain      = ocispec.MediaTypeImageLayer
	)
	badCRC := func(good []byte) []byte {
		blob := gzipped(good)
		blob[len(blob)-6] ^= 1
		return blob
	}
	plainly := func(good []byte) []byte { return good }
	fixed := func(blob string) func([]byte) []byte { return func([]byte) []byte { return []byte(blob) } }
	skippable := string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184D2A50), 0xffffffff))
	return []row{
		filesRow("a changed byte", wrong, "", layerFile(func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b })),
		filesRow("half of a layer", wrong, "", layerFile(func(b []byte) []byte { return b[:len(b)/2] })),
		filesRow("a layer of no bytes", wrong, "", layerFile(func([]byte) []byte { return nil })),
		filesRow("a layer with more behind it", wrong, "", layerFile(func(b []byte) []byte { return append(b, "more"...) })),
		filesRow("a layer that is not there", "ManifestGone", "", func(img *ociimage.Image, layout string) error {
			return os.Remove(blobPath(layout, img.Layers[0].Digest))
		}),
		filesRow("a layer that is a directory", "Failed", "", func(img *ociimage.Image, layout string) error {
			path := blobPath(layout, img.Layers[0].Digest)
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o755)
		}),
		specRow("a size that is too large", wrong, "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size++ })),
		specRow("a size that is too small", wrong, "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size-- })),
		specRow("a size of 4 EiB", "UnsupportedImage", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = 1 << 62 })),
		specRow("a negative size", bad, "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = -1 })),
		specRow("another diff ID", wrong, "", configured(func(_ *ocispec.Manifest, c *ocispec.Image) {
			c.RootFS.DiffIDs = []digest.Digest{digest.FromString("another")}
		})),
		blobRow("gzip called zstd", "", "", zs, gzipped),
		blobRow("plain called gzip", "", "", gz, plainly),
		blobRow("gzip cut off", "DigestMismatch", "", gz, withoutEnd(5, gzipped)),
		blobRow("gzip with a wrong checksum", "UnsupportedImage", "", gz, badCRC),
		blobRow("noise behind gzip", "UnsupportedImage", "", gz, followed([]byte("noise that is no member"))),
		blobRow("gzip whose header does not end", "UnsupportedImage", "", gz, fixed("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"+strings.Repeat("n", 1<<20))),
		zerosRow("200 MiB of zeros behind an archive", "", 200<<20),
		blobRow("100,000 members of gzip", "", "", gz, followed(bytes.Repeat(gzipped(nil), 100_000))),
		blobRow("zstd cut off", "DigestMismatch", "", zs, withoutEnd(3, window(1<<20))),
		blobRow("zstd with a window of 512 MiB", bad, "", zs, window(512<<20)),
		blobRow("zstd that skips 4 GiB", "DigestMismatch", "", zs, fixed(skippable+"little")),
		blobRow("zstd with an unknown dictionary", bad, "", zs, fixed("\x28\xb5\x2f\xfd\x01\x58\x77\x01\x00\x00")),
		blobRow("zstd that says 8 EiB", "UnsupportedImage", "", zs, fixed("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00")),
		blobRow("xz with a dictionary of 1 GiB", bad, "", plain, func(good []byte) []byte { return xzDictionaryHeader(xzDictionary(good, 1<<20)) }),
		blobRow("xz cut off", "UnsupportedImage", "", plain, withoutEnd(20, dictionary(1<<20))),
		blobRow("bzip2", bad, "", plain, fixed("BZh91AY&SY noise")),
		blobRow("lz4", bad, "", plain, fixed("\x04\x22\x4d\x18\x60\x40\x82\x00\x00\x00\x00")),
		blobRow("an encrypted layer", bad, "", gz+"+encrypted", gzipped),
		blobRow("a layer of an unknown media type", bad, "", "application/vnd.example.layer", gzipped),
		blobRow("a layer without a media type", bad, "", "", gzipped),
		blobRow("a layer with a media type of 1 MiB", bad, "", strings.Repeat("m", 1<<20), gzipped),
		layersRow("12 layers with windows of 128 MiB", 12, zs, window(128<<20)),
		layersRow("12 layers with dictionaries of 64 MiB", 12, plain, dictionary(64<<20)),
	}
}
