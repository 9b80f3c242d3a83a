//go:build hostile

package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// manifestRow is a row for an image with the manifest that change makes of a good one.
func manifestRow(name, want, says string, change func(good []byte) []byte) row {
	return row{name: name, want: want, says: says, ask: func(t *testing.T, s *stage) error {
		img, err := configured(nil).Build()
		if err != nil {
			return err
		}
		img.Manifest = change(img.Manifest)
		img.ManifestDigest = digest.FromBytes(img.Manifest)
		return s.pullImage(t, img)
	}}
}

// configRow is the same for the config.
func configRow(name, want, says string, change func(good []byte) []byte) row {
	return row{name: name, want: want, says: says, limit: 60 * time.Second, ask: func(t *testing.T, s *stage) error {
		img, err := configured(nil).Build()
		if err != nil {
			return err
		}
		config := change(img.Config)
		changed := digest.FromBytes(config)
		img.Blobs[changed] = config
		img.Manifest = bytes.ReplaceAll(img.Manifest, []byte(img.ConfigDigest), []byte(changed))
		img.Manifest = bytes.ReplaceAll(img.Manifest, fmt.Appendf(nil, `"size":%d`, len(img.Config)), fmt.Appendf(nil, `"size":%d`, len(config)))
		img.ManifestDigest = digest.FromBytes(img.Manifest)
		return s.pullImage(t, img)
	}}
}

func (s *stage) pullImage(t *testing.T, img *ociimage.Image) error {
	layout := t.TempDir()
	if err := img.WriteLayout(layout, "t"); err != nil {
		return err
	}
	return s.pull("oci:"+layout+":t", nil)
}

func constant(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }

// replaced replaces a part of a document, which must be there.
func replaced(old, with string) func([]byte) []byte {
	return func(good []byte) []byte {
		if !bytes.Contains(good, []byte(old)) {
			panic(fmt.Sprintf("no %q in %s", old, good))
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
}

// added adds members to a document.
func added(members string) func([]byte) []byte {
	return func(good []byte) []byte { return append([]byte("{"+members+","), good[1:]...) }
}

func labelled(labels map[string]string) ociimage.Spec {
	spec := configured(nil)
	spec.Labels = labels
	return spec
}

// manyLabels has n labels.
func manyLabels(n int) map[string]string {
	labels := map[string]string{}
	for i := range n {
		labels[fmt.Sprintf("label-%d", i)] = "v"
	}
	return labels
}

func nested(open, end string, depth int) string {
	return strings.Repeat(open, depth) + "1" + strings.Repeat(end, depth)
}

// documentRows are about manifests and configs.
func documentRows() []row {
	const bad, wrong = "UnsupportedImage", "DigestMismatch"
	manifests := []row{
		manifestRow("a manifest that is no JSON", bad, "", constant("<html>not what was asked for</html>")),
		manifestRow("a manifest of no bytes", bad, "", constant("")),
		manifestRow("a manifest that is null", bad, "", constant("null")),
		manifestRow("a manifest that is a list", bad, "", constant("[]")),
		manifestRow("a manifest with nothing in it", bad, "", constant("{}")),
		manifestRow("a manifest cut off", bad, "", func(good []byte) []byte { return good[:len(good)/2] }),
		manifestRow("a manifest 100,000 levels deep", bad, "", added(`"x":`+nested(`{"x":`, `}`, 100_000))),
		manifestRow("a manifest of 5 MiB", bad, "", added(`"x":"`+strings.Repeat("x", 5<<20)+`"`)),
		manifestRow("a manifest of schema 1", bad, "", replaced(`"schemaVersion":2`, `"schemaVersion":1`)),
		manifestRow("a manifest of another type", bad, "", replaced(ocispec.MediaTypeImageManifest, "application/vnd.example.manifest")),
		manifestRow("a manifest that calls itself an index", bad, "", replaced(ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex)),
		manifestRow("a manifest with numbers for strings", bad, "", replaced(`"mediaType":"`+ocispec.MediaTypeImageLayerGzip+`"`, `"mediaType":7`)),
		manifestRow("a manifest with a number for an annotation", bad, "", added(`"annotations":{"x":1e400}`)),
		manifestRow("a manifest that is not UTF-8", "", "", added("\"annotations\":{\"x\":\"\xff\xfe\"}")),
		manifestRow("a manifest with half a surrogate", "", "", added(`"annotations":{"x":"\ud800"}`)),
		manifestRow("a manifest with two lists of layers", "UnsupportedImage", "", added(`"layers":[]`)),
		manifestRow("a manifest with 50,000 annotations", "", "", annotated(50_000)),
		specRow("no layers", bad, "", configured(func(m *ocispec.Manifest, c *ocispec.Image) { m.Layers, c.RootFS.DiffIDs = nil, nil })),
		specRow("more layers than diff IDs", bad, "1 diff", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers = append(m.Layers, m.Layers[0]) })),
		specRow("more diff IDs than layers", bad, "2 diff", configured(func(_ *ocispec.Manifest, c *ocispec.Image) {
			c.RootFS.DiffIDs = append(c.RootFS.DiffIDs[:1:1], c.RootFS.DiffIDs[0])
		})),
		specRow("10,000 times the same layer", "UnsupportedImage", "", configured(func(m *ocispec.Manifest, c *ocispec.Image) {
			for range 9_999 {
				m.Layers, c.RootFS.DiffIDs = append(m.Layers, m.Layers[0]), append(c.RootFS.DiffIDs, c.RootFS.DiffIDs[0])
			}
		})),
		specRow("a layer digest of md5", "UnsupportedImage", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Digest = "md5:d41d8cd98f00b204e9800998ecf8427e"
		})),
		specRow("a layer digest that is a path", "UnsupportedImage", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Digest = "sha256:../../../../etc/shadow" })),
		specRow("a layer digest that is too short", "UnsupportedImage", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Digest = "sha256:abcd" })),
		specRow("a diff ID that is none", bad, "", configured(func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = []digest.Digest{"sha256:../x"} })),
		specRow("an artifact", "", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) { m.ArtifactType = "application/vnd.example.sbom" })),
		specRow("layers with addresses elsewhere", "", "", configured(func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].URLs = []string{"http://127.0.0.1:1/secret", "file:///etc/shadow"}
		})),
	}
	return append(manifests, configRows()...)
}

func annotated(n int) func([]byte) []byte {
	raw, err := json.Marshal(manyLabels(n))
	if err != nil {
		panic(err)
	}
	return added(`"annotations":` + string(raw))
}

func configRows() []row {
	const bad, wrong = "UnsupportedImage", "DigestMismatch"
	encapsulating := configured(nil)
	encapsulating.Labels = map[string]string{"ostree.final-diffid": digest.FromBytes(encapsulating.Layers[0].Tar).String()}
	return []row{
		configRow("a config that is no JSON", bad, "", constant("<html>not what was asked for</html>")),
		configRow("a config of no bytes", bad, "", constant("")),
		configRow("a config that is null", bad, "", constant("null")),
		configRow("a config that is a list", bad, "", constant("[]")),
		configRow("a config 100,000 levels deep", bad, "", added(`"x":`+nested(`[`, `]`, 100_000))),
		configRow("a config 500 levels deep", "UnsupportedImage", "", added(`"x":`+nested(`[`, `]`, 500))),
		configRow("a config of 5 MiB", bad, "", added(`"x":"`+strings.Repeat("x", 5<<20)+`"`)),
		configRow("a config that is not UTF-8", "", "", added("\"x\":\"\xff\xfe\"")),
		configRow("a config with half a surrogate", "", "", added(`"x":"\ud800"`)),
		configRow("a config with a number out of range", "", "", added(`"x":1e400`)),
		configRow("a config with a member twice", "", "", added(`"x":1,"x":2`)),
		configRow("a config with no time of creation", "", "", added(`"created":""`)),
		configRow("a config of the year 99999", "", "", added(`"created":"99999-01-01T00:00:00Z"`)),
		configRow("a config without a root file system", bad, "", constant(`{"architecture":"amd64","os":"linux"}`)),
		configRow("a config with labels that are a list", bad, "", replaced(`"config":{`, `"config":{"Labels":["a"],`)),
		configRow("a config with 100,000 lines of history", "", "", added(`"x":[`+strings.Repeat(`{"created_by":"x"},`, 100_000)+`{}]`)),
		filesRow("a config that is changed", wrong, "config", func(img *ociimage.Image, layout string) error {
			return os.WriteFile(blobPath(layout, img.ConfigDigest), []byte("{}"), 0o644)
		}),
		filesRow("a config that is not there", "ReferenceNotFound", "config", func(img *ociimage.Image, layout string) error {
			return os.Remove(blobPath(layout, img.ConfigDigest))
		}),
		specRow("50,000 labels", "", "", labelled(manyLabels(50_000))),
		specRow("a label of 1 MiB", "", "", labelled(map[string]string{"l": strings.Repeat("v", 1<<20)})),
		specRow("a label with escape sequences", "", "", labelled(map[string]string{"version": "\x1b]0;title\x07\x1b[2J", "org.opencontainers.image.version": "\n\n\x00"})),
		specRow("an encapsulated commit that is none", bad, "", encapsulating),
		specRow("an encapsulated commit of another layer", bad, "", labelled(map[string]string{"ostree.final-diffid": digest.FromString("another").String()})),
		specRow("an encapsulated commit of no digest", bad, "", labelled(map[string]string{"ostree.final-diffid": "../../etc/passwd"})),
		specRow("a commit that is said to be inside", "", "", labelled(map[string]string{"ostree.commit": strings.Repeat("a", 64), "ostree.bootable": "maybe"})),
	}
}

// indexRow is a row for a layout with this index, in which %s is the digest of a good manifest and
// %d its size.
func indexRow(name, want, says, index string) row {
	return filesRow(name, want, says, func(img *ociimage.Image, layout string) error {
		index = strings.ReplaceAll(index, "%s", img.ManifestDigest.String())
		index = strings.ReplaceAll(index, "%d", fmt.Sprint(len(img.Manifest)))
		return os.WriteFile(filepath.Join(layout, "index.json"), []byte(index), 0o644)
	})
}

// indexOf is an index with these manifests.
func indexOf(manifests ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + strings.Join(manifests, ",") + `]}`
}

// nestedIndexes writes indexes, each of which is in the next one, and returns the index of the
// layout.
func nestedIndexes(img *ociimage.Image, layout string, depth int) error {
	d, size, kind := img.ManifestDigest, len(img.Manifest), ocispec.MediaTypeImageManifest
	for range depth {
		raw := []byte(indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"architecture":"amd64","os":"linux"}}`, kind, d, size)))
		d, size, kind = digest.FromBytes(raw), len(raw), ocispec.MediaTypeImageIndex
		if err := os.WriteFile(blobPath(layout, d), raw, 0o644); err != nil {
			return err
		}
	}
	raw := indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"t"}}`, kind, d, size))
	return os.WriteFile(filepath.Join(layout, "index.json"), []byte(raw), 0o644)
}

// layoutRows are about OCI layouts.
func layoutRows() []row {
	const bad, none = "UnsupportedImage", "ReferenceNotFound"
	const entry = `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"%s","size":%d,"annotations":{"org.opencontainers.image.ref.name":"t"}}`
	return []row{
		indexRow("an index that is no JSON", "UnsupportedImage", "", "<html>"),
		indexRow("an index without the tag", none, "", indexOf()),
		indexRow("an index with the tag 10,000 times", "", "", indexOf(strings.TrimSuffix(strings.Repeat(entry+",", 10_000), ","))),
		indexRow("an index of 20 MiB", "UnsupportedImage", "", indexOf(entry)+strings.Repeat(" ", 20<<20)),
		indexRow("an index 100,000 levels deep", "UnsupportedImage", "", `{"x":`+nested(`[`, `]`, 100_000)+`}`),
		indexRow("a manifest of another digest", "ReferenceNotFound", "", indexOf(strings.Replace(entry, "%s", digest.FromString("other").String(), 1))),
		indexRow("a manifest whose digest is a path", "UnsupportedImage", "", indexOf(strings.Replace(entry, "%s", "sha256:../../../etc/shadow", 1))),
		indexRow("a manifest of 8 EiB", "", "", indexOf(strings.Replace(entry, "%d", "9223372036854775807", 1))),
		filesRow("an index in an index in an index", "UnsupportedImage", "", func(img *ociimage.Image, layout string) error { return nestedIndexes(img, layout, 2) }),
		filesRow("200 indexes in each other", "UnsupportedImage", "", func(img *ociimage.Image, layout string) error { return nestedIndexes(img, layout, 200) }),
		filesRow("a manifest that is changed", "DigestMismatch", "does not name the manifest", func(img *ociimage.Image, layout string) error {
			return os.WriteFile(blobPath(layout, img.ManifestDigest), append(bytes.Clone(img.Manifest), ' '), 0o644)
		}),
		filesRow("an index that links to a secret", "Failed", "", func(_ *ociimage.Image, layout string) error {
			index := filepath.Join(layout, "index.json")
			if err := os.Remove(index); err != nil {
				return err
			}
			return os.Symlink("/etc/shadow", index)
		}),
		filesRow("a blob that links to a secret", "Failed", "", func(img *ociimage.Image, layout string) error {
			path := blobPath(layout, img.Layers[0].Digest)
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("/etc/shadow", path)
		}),
		filesRow("a blob that links to endless zeros", "DigestMismatch", "", func(img *ociimage.Image, layout string) error {
			path := blobPath(layout, img.Layers[0].Digest)
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("/dev/zero", path)
		}),
	}
}
