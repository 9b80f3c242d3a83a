package document

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newImage makes the documents of an image with a layer for each text; equal texts make equal
// layers.
func newImage(finalDiffID string, layers ...string) (*ocispec.Manifest, *Config) {
	m, c := &ocispec.Manifest{}, &Config{}
	for _, text := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString("blob of " + text), Size: 1})
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString(text))
	}
	if finalDiffID != "" {
		c.Config.Labels = map[string]string{LabelFinalDiffID: digest.FromString(finalDiffID).String()}
	}
	return m, c
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		name, final string
		layers      []string
		want        string // or the error
	}{
		{"plain", "", []string{"a", "b"}, "derived derived"},
		{"one layer", "a", []string{"a"}, "ostree-commit"},
		{"no chunks", "a", []string{"a", "b"}, "ostree-commit derived"},
		{"chunks and more", "c", []string{"a", "b", "c", "d"}, "ostree-commit ostree-chunk ostree-chunk derived"},
		{"a repeated chunk", "b", []string{"a", "b", "b2", "b2"}, "ostree-commit ostree-chunk derived derived"},
		{"the same chunk twice", "c", []string{"a", "b", "b", "c"}, "ostree-commit ostree-chunk ostree-chunk ostree-chunk"},
		{"the last chunk again above", "b", []string{"a", "b", "c", "b"}, "layers 2 and 4 are the same blob"},
		{"the commit as a chunk", "b", []string{"a", "a", "b"}, "layers 1 and 2 are the same blob"},
		{"no such layer", "x", []string{"a", "b"}, "has no such layer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, config := newImage(c.final, c.layers...)
			if err := CheckImage(m, config); err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			if got := strings.Join(Kinds(config, len(m.Layers)), " "); got != c.want {
				t.Errorf("kinds %s, want %s", got, c.want)
			}
		})
	}
}

func TestEmptyFinalDiffID(t *testing.T) {
	m, c := newImage("", "a")
	c.Config.Labels = map[string]string{LabelFinalDiffID: ""}
	if err := CheckImage(m, c); err == nil || !strings.Contains(err.Error(), LabelFinalDiffID) {
		t.Errorf("error %v, want one about the label", err)
	}
}

// checkCanonical wants the canonical form of a document to be its own, and to be there for what a
// JSON parser takes.
func checkCanonical(t *testing.T, raw []byte) {
	text, _, err := Canonical(raw)
	if err != nil {
		if json.Valid(raw) && !strings.Contains(err.Error(), "in each other") {
			t.Fatalf("%q: %v", raw, err)
		}
		return
	}
	again, replaced, err := Canonical(text)
	if err != nil || replaced != nil || string(again) != string(text) {
		t.Fatalf("%q becomes %q, and that %q, %v, %v", raw, text, again, replaced, err)
	}
}

// FuzzDocuments: whatever manifest and config hold, an image is refused or every layer has its
// kind, its diff ID and a sane size.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []struct{ final, layers string }{{"", "a b"}, {"b", "a b c"}, {"x", "a"}, {"a", "a b a"}} {
		m, c := newImage(seed.final, strings.Fields(seed.layers)...)
		m.SchemaVersion = 2
		m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config")}
		manifest, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		config, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(manifest, config)
	}
	f.Add([]byte(`{"schemaVersion":2,"layers":[{"digest":""}]}`), []byte("null"))
	f.Fuzz(func(t *testing.T, rawManifest, rawConfig []byte) {
		checkCanonical(t, rawConfig)
		m, err := ParseManifest(rawManifest)
		if err != nil {
			return
		}
		c, err := ParseConfig(rawConfig)
		if err != nil || CheckImage(m, c) != nil {
			return
		}
		kinds, notes := Kinds(c, len(m.Layers)), History(c, len(m.Layers))
		if len(kinds) != len(m.Layers) || len(notes) != len(m.Layers) || len(c.RootFS.DiffIDs) != len(m.Layers) {
			t.Fatalf("%d kinds, %d notes, %d diff IDs of %d layers", len(kinds), len(notes), len(c.RootFS.DiffIDs), len(m.Layers))
		}
		derived := false
		for i, l := range m.Layers {
			derived = derived || kinds[i] == KindDerived
			if l.Size < 0 || l.Digest.Validate() != nil || derived && kinds[i] != KindDerived || kinds[i] == KindCommit && i > 0 {
				t.Fatalf("layer %d of the kind %s: %+v", i, kinds[i], l)
			}
		}
		Created(m, c)
	})
}
