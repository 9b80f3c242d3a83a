package importer

import (
	// The hash functions that a digest may name.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxDocument bounds manifest and config, as registries do.
	maxDocument = 4 << 20
	// maxBlob bounds the size that a manifest may claim for a layer, so that sums of sizes can't overflow.
	maxBlob = 1 << 46

	labelFinalDiffID = "ostree.final-diffid"
)

// imageConfig is what an import needs of an image's config. Times are kept as text: one that can't be parsed is no reason to
// refuse an image.
type imageConfig struct {
	Created string `json:"created"`
	Config  struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		Created    string `json:"created"`
		CreatedBy  string `json:"created_by"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// version is the version that people know the image by, or "".
func (c *imageConfig) version() string {
	if v := c.Config.Labels[ocispec.AnnotationVersion]; v != "" {
		return v
	}
	return c.Config.Labels["version"]
}

// parseManifest decodes an OCI image manifest and refuses what can't be imported.
func parseManifest(raw []byte) (*ocispec.Manifest, error) {
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("the manifest has %d bytes, more than the %d that are allowed", len(raw), maxDocument)
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

// parseConfig decodes an image config. One that is empty or null, as early importers stored it, is an empty config.
func parseConfig(raw []byte) (*imageConfig, error) {
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("the config has %d bytes, more than the %d that are allowed", len(raw), maxDocument)
	}
	var c imageConfig
	if len(raw) == 0 {
		return &c, nil
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("the config is not valid JSON of an image config: %w", err)
	}
	return &c, nil
}

// checkImage refuses an image whose manifest and config don't belong together or that can't be imported.
func checkImage(m *ocispec.Manifest, c *imageConfig) error {
	if id, ok := c.Config.Labels[labelFinalDiffID]; ok {
		return fmt.Errorf("the image is an encapsulated OSTree commit (label %s=%s), which is not supported by this version yet", labelFinalDiffID, id)
	}
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return fmt.Errorf("the config's rootfs has type %q, want \"layers\"", c.RootFS.Type)
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
	return nil
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

// supportedLayers are the media types of layers. The compression that they name is not relied on: sources decompress.
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

// created gives the time an image says it was made, zero when it says none, and the texts that are not RFC 3339 times.
func created(m *ocispec.Manifest, c *imageConfig) (t time.Time, ignored []string) {
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

// layerHistory gives, per layer, what the config's history says of it; layers that it doesn't reach get zero values.
func layerHistory(c *imageConfig, layers int) []layerNote {
	notes := make([]layerNote, layers)
	i := 0
	for _, h := range c.History {
		if h.EmptyLayer {
			continue
		}
		if i == layers {
			break
		}
		notes[i].createdBy = h.CreatedBy
		if t, err := time.Parse(time.RFC3339, h.Created); err == nil {
			notes[i].created = t
		}
		i++
	}
	return notes
}

type layerNote struct {
	createdBy string
	created   time.Time
}

// layerKinds gives the kind of every layer: all are derived, unless the label names the last layer of an encapsulated
// OSTree commit.
func layerKinds(c *imageConfig, layers int) []string {
	last := -1
	if id, ok := c.Config.Labels[labelFinalDiffID]; ok {
		for i, diffID := range c.RootFS.DiffIDs {
			if string(diffID) == id {
				last = i
				break
			}
		}
	}
	kinds := make([]string, layers)
	for i := range kinds {
		switch {
		case i > last:
			kinds[i] = "derived"
		case i == 0:
			kinds[i] = "ostree-commit"
		default:
			kinds[i] = "ostree-chunk"
		}
	}
	return kinds
}
