package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
)

// blobAnnotations begin the annotations of a layer that are about the bytes of the original blob. A
// reader that believed them of another blob would look for its parts at the wrong places.
var blobAnnotations = []string{
	"io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/", "io.containers.estargz.",
}

// documents writes config and manifest, which makes the image visible.
func (i *imageWriter) documents(ctx context.Context, w *ocilayout.Writer, layers []writtenLayer) (ImageResult, error) {
	config, platform, err := i.config(layers)
	if err != nil {
		return ImageResult{}, fmt.Errorf("config: %w", err)
	}
	written, err := w.PutBlob(ctx, ocispec.MediaTypeImageConfig, config)
	if err != nil {
		return ImageResult{}, err
	}
	manifest, err := i.manifest(written, layers)
	if err != nil {
		return ImageResult{}, fmt.Errorf("manifest: %w", err)
	}
	if written, err = w.Commit(ctx, manifest, platform); err != nil {
		return ImageResult{}, err
	}
	res := ImageResult{ManifestDigest: written.Digest, Size: uint64(len(config) + len(manifest))}
	counted := make(map[digest.Digest]bool)
	for _, l := range layers {
		if !counted[l.Digest] {
			counted[l.Digest] = true
			res.Size += uint64(l.Size)
		}
	}
	return res, nil
}

// manifest is that of the stored image, with other layers and another config.
func (i *imageWriter) manifest(config ocispec.Descriptor, layers []writtenLayer) ([]byte, error) {
	m := *i.Manifest
	config.Annotations = m.Config.Annotations
	m.MediaType, m.Config, m.Subject = ocispec.MediaTypeImageManifest, config, nil
	m.Layers = make([]ocispec.Descriptor, len(layers))
	for n, l := range layers {
		m.Layers[n] = l.Descriptor
		m.Layers[n].Annotations = maps.Clone(i.Manifest.Layers[n].Annotations)
		maps.DeleteFunc(m.Layers[n].Annotations, func(key, _ string) bool {
			for _, prefix := range blobAnnotations {
				if strings.HasPrefix(key, prefix) {
					return true
				}
			}
			return false
		})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	raw, _, err = document.Canonical(raw)
	return raw, err
}

// config is that of the stored image, whatever is in it, but with the diff IDs of the layers that
// are written.
func (i *imageWriter) config(layers []writtenLayer) ([]byte, *ocispec.Platform, error) {
	var config map[string]any
	if err := json.Unmarshal(i.RawConfig, &config); err != nil {
		return nil, nil, err
	}
	rootfs, ok := config["rootfs"].(map[string]any)
	if !ok {
		return nil, nil, errors.New("it has no rootfs")
	}
	diffIDs := make([]digest.Digest, len(layers))
	for n, l := range layers {
		diffIDs[n] = l.diffID
	}
	rootfs["diff_ids"] = diffIDs
	if last := i.lastOfBase(); last >= 0 {
		if first := slices.Index(diffIDs, diffIDs[last]); first < last {
			return nil, nil, fmt.Errorf("layers %d and %d get the same content, so that no label can tell where the base commit ends", first+1, last+1)
		}
		inner, _ := config["config"].(map[string]any)
		labels, ok := inner["Labels"].(map[string]any)
		if !ok {
			return nil, nil, errors.New("it has no labels")
		}
		labels[document.LabelFinalDiffID] = diffIDs[last]
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, nil, err
	}
	if raw, _, err = document.Canonical(raw); err != nil {
		return nil, nil, err
	}
	platform := &ocispec.Platform{}
	return raw, platform, json.Unmarshal(raw, platform)
}

// lastOfBase is the index of the last layer of the base commit, -1 for an image without one.
func (i *imageWriter) lastOfBase() int {
	last := -1
	for n, kind := range i.kinds {
		if kind != document.KindDerived {
			last = n
		}
	}
	return last
}
