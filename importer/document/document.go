package document

import (
	"bytes"
	_ "crypto/sha256" // a hash function that a digest may name
	_ "crypto/sha512" // another one
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// MaxSize bounds manifest and config, as registries do, and their canonical forms.
	MaxSize = 4 << 20
	// MaxLayers bounds the layers of an image. Container engines give up at 128, or at 500 mounts.
	MaxLayers = 1024
	// maxBlob bounds the size that a manifest may claim for a layer, so that sums of sizes can't
	// overflow.
	maxBlob = 1 << 46
)

// Config is what an import needs of an image's config. Times are kept as text: one that can't be
// parsed is no reason to refuse an image. Neither is a value of another type than it should have,
// which counts as absent.
type Config struct {
	Created      string `json:"created"`
	Architecture string `json:"architecture"`
	Config       struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History Steps `json:"history"`
}

// Steps are the first steps of an image's history that made a layer, no more than an image may have
// layers.
type Steps []struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// UnmarshalJSON takes what is there of the history: a step that is none counts as one that says
// nothing, and a value that is no list has no steps.
func (s *Steps) UnmarshalJSON(raw []byte) error {
	*s = nil
	list := json.NewDecoder(bytes.NewReader(raw))
	if start, err := list.Token(); err != nil || start != json.Delim('[') {
		return err
	}
	var kept Steps
	for list.More() && len(kept) < MaxLayers {
		var step struct {
			Created    string `json:"created"`
			CreatedBy  string `json:"created_by"`
			EmptyLayer bool   `json:"empty_layer"`
		}
		if err := list.Decode(&step); err != nil && !isTypeError(err) {
			return err
		}
		if !step.EmptyLayer {
			kept = append(kept, Steps{{Created: step.Created, CreatedBy: step.CreatedBy}}...)
		}
	}
	*s = kept
	return nil
}

// isTypeError reports whether an error is about a value of a type that was not expected. The
// decoder goes on after one.
func isTypeError(err error) bool {
	var wrong *json.UnmarshalTypeError
	return errors.As(err, &wrong)
}

// Version is the version that people know the image by, or "".
func (c *Config) Version() string {
	if v := c.Config.Labels[ocispec.AnnotationVersion]; v != "" {
		return v
	}
	return c.Config.Labels["version"]
}

// ParseManifest decodes an OCI image manifest and refuses what can't be imported.
func ParseManifest(raw []byte) (*ocispec.Manifest, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("the manifest has %d bytes, more than the %d that are allowed", len(raw), MaxSize)
	}
	var m struct {
		ocispec.Manifest
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("the manifest is not valid JSON of an OCI image manifest: %w", err)
	}
	switch {
	case m.MediaType == ocispec.MediaTypeImageIndex || len(m.Manifests) > 0:
		return nil, errors.New("the manifest is an index of several images, want the manifest of one")
	case m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest:
		return nil, fmt.Errorf("the manifest has media type %q, want %q", m.MediaType, ocispec.MediaTypeImageManifest)
	case m.SchemaVersion != 2:
		return nil, fmt.Errorf("the manifest has schema version %d, want 2", m.SchemaVersion)
	case m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != mediaTypeDockerConfig:
		return nil, fmt.Errorf("the manifest is of an artifact whose config has type %q, not of a container image", m.Config.MediaType)
	case len(m.Layers) == 0:
		return nil, errors.New("the manifest has no layers")
	}
	if err := m.Config.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("the manifest's config digest %q: %w", m.Config.Digest, err)
	}
	return &m.Manifest, nil
}

// ParseConfig decodes an image config. One that is empty or null, as early importers stored it, is
// an empty config.
func ParseConfig(raw []byte) (*Config, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("the config has %d bytes, more than the %d that are allowed", len(raw), MaxSize)
	}
	var c Config
	if len(raw) == 0 {
		return &c, nil
	}
	if err := json.Unmarshal(raw, &c); err != nil && !isTypeError(err) {
		return nil, fmt.Errorf("the config is not valid JSON of an image config: %w", err)
	}
	return &c, nil
}

// CheckImage refuses an image whose manifest and config don't belong together or that can't be
// imported.
func CheckImage(m *ocispec.Manifest, c *Config) error {
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return fmt.Errorf("the config's rootfs has type %q, want \"layers\"", c.RootFS.Type)
	}
	if len(m.Layers) > MaxLayers {
		return fmt.Errorf("the manifest has %d layers, more than the %d that are allowed; squash the image", len(m.Layers), MaxLayers)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("the manifest has %d layers, but the config has %d diff IDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	seen := map[digest.Digest]int{}
	for i, l := range m.Layers {
		if err := checkLayer(l, c.RootFS.DiffIDs[i]); err != nil {
			return fmt.Errorf("layer %d/%d: %w", i+1, len(m.Layers), err)
		}
		first, again := seen[l.Digest]
		if again && (m.Layers[first].Size != l.Size || c.RootFS.DiffIDs[first] != c.RootFS.DiffIDs[i]) {
			return fmt.Errorf("layers %d and %d have the same digest %s, but differ in size or diff ID", first+1, i+1, l.Digest)
		}
		if !again {
			seen[l.Digest] = i
		}
	}
	return checkKinds(m, c)
}

func checkLayer(l ocispec.Descriptor, diffID digest.Digest) error {
	if strings.HasSuffix(l.MediaType, "+encrypted") {
		return fmt.Errorf("it is encrypted (media type %q), which is not supported: decrypt the image with skopeo copy --decryption-key first", l.MediaType)
	}
	if !supportedLayers[l.MediaType] {
		return fmt.Errorf("its media type %q is not one of a file system layer", l.MediaType)
	}
	if l.Size < 0 || l.Size > maxBlob {
		return fmt.Errorf("its size of %d bytes is impossible", l.Size)
	}
	if err := l.Digest.Validate(); err != nil {
		return fmt.Errorf("its digest %q: %w", l.Digest, err)
	}
	if err := diffID.Validate(); err != nil {
		return fmt.Errorf("its diff ID %q: %w", diffID, err)
	}
	return nil
}

const mediaTypeDockerConfig = "application/vnd.docker.container.image.v1+json"

// supportedLayers are the media types of layers. The compression that they name is not relied on:
// sources decompress.
var supportedLayers = map[string]bool{
	"application/vnd.oci.image.layer.v1.tar":                       true,
	"application/vnd.oci.image.layer.v1.tar+gzip":                  true,
	"application/vnd.oci.image.layer.v1.tar+zstd":                  true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
	"application/vnd.docker.image.rootfs.diff.tar":                 true,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":            true,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":            true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    true,
}

// Created gives the time an image says it was made, zero when it says none, and the texts that are
// not RFC 3339 times.
func Created(m *ocispec.Manifest, c *Config) (t time.Time, ignored []string) {
	for _, text := range []string{m.Annotations[ocispec.AnnotationCreated], c.Created} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err == nil {
			return t, ignored
		}
		ignored = append(ignored, text)
	}
	return time.Time{}, ignored
}

// History gives, per layer, what the config's history says of it; layers that it doesn't reach get
// zero values.
func History(c *Config, layers int) []Note {
	notes := make([]Note, layers)
	for i, step := range c.History[:min(layers, len(c.History))] {
		notes[i].CreatedBy = step.CreatedBy
		if t, err := time.Parse(time.RFC3339, step.Created); err == nil {
			notes[i].Created = t
		}
	}
	return notes
}

// Note is what a config's history says of a layer.
type Note struct {
	CreatedBy string
	Created   time.Time // zero when it says none, or nothing that is a time
}
