package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// Image is a stored image.
type Image struct {
	Reference      string                              `json:"reference"` // as reference.Image prints it
	ImageRef       string                              `json:"image_ref"`
	ManifestDigest digest.Digest                       `json:"manifest_digest"`
	ConfigDigest   digest.Digest                       `json:"config_digest"`
	Commit         string                              `json:"commit"`
	Version        string                              `json:"version,omitempty"`
	Created        time.Time                           `json:"created,omitzero"`
	Layers         []ImageLayer                        `json:"layers"`
	Size           uint64                              `json:"size"` // compressed, of all distinct layers
	Filtered       map[digest.Digest]map[string]uint32 `json:"filtered"`
	Manifest       json.RawMessage                     `json:"manifest,omitempty"` // only from Importer.Image
	Config         json.RawMessage                     `json:"config,omitempty"`   // only from Importer.Image
	// Broken, when not empty, says what is wrong and how to repair it; the other fields hold what could be read.
	Broken string `json:"broken,omitempty"`
}

// ImageLayer is one layer of a stored image.
type ImageLayer struct {
	Digest    digest.Digest     `json:"digest"`
	DiffID    digest.Digest     `json:"diff_id,omitempty"`
	Size      uint64            `json:"size"`
	MediaType string            `json:"media_type"`
	Kind      string            `json:"kind"`
	Ref       string            `json:"ref"`
	Commit    string            `json:"commit,omitempty"` // empty when the ref is missing
	CreatedBy string            `json:"created_by,omitempty"`
	Created   time.Time         `json:"created,omitzero"`
	Filtered  map[string]uint32 `json:"filtered,omitempty"`
}

// Images lists the stored images by ref. A broken one is listed with its reason and doesn't fail the listing.
func (im *Importer) Images(ctx context.Context) ([]Image, error) {
	refs, err := im.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	images := make([]Image, 0, len(refs))
	for _, ref := range refs {
		if ctx.Err() != nil {
			return nil, classify(StageInventory, context.Cause(ctx))
		}
		image, _ := im.describe(ref)
		images = append(images, image)
	}
	return images, nil
}

// Image gives one stored image with its manifest and config. ref is any form of reference that names it. A broken image is
// returned with its reason; the error has KindNoSuchImage when there is none.
func (im *Importer) Image(ctx context.Context, ref string) (*Image, error) {
	if ctx.Err() != nil {
		return nil, classify(StageInventory, context.Cause(ctx))
	}
	parsed, err := reference.Parse(ref)
	if err != nil {
		return nil, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	name, err := reference.ImageRef(parsed.Image)
	if err != nil {
		return nil, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	commit, err := im.repo.Resolve(name)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return nil, &Error{Kind: KindNoSuchImage, Stage: StageInventory, Err: fmt.Errorf("no image %s is stored in %s", parsed.Image, im.repo.Path())}
	}
	image, stored := im.describe(ostreerepo.Ref{Name: name, Commit: commit, Err: err})
	image.Manifest, image.Config = asJSON(stored.rawManifest), asJSON(stored.rawConfig)
	return &image, nil
}

// asJSON leaves out what is no JSON, which could not be passed on inside a JSON document.
func asJSON(raw []byte) json.RawMessage {
	if !json.Valid(raw) {
		return nil
	}
	return raw
}

// describe tells what is stored under an image ref.
func (im *Importer) describe(ref ostreerepo.Ref) (Image, storedImage) {
	image := Image{ImageRef: ref.Name, Reference: ref.Name, Layers: []ImageLayer{}, Filtered: map[digest.Digest]map[string]uint32{}}
	if name, err := reference.ImageOfRef(ref.Name); err != nil {
		image.Broken = fmt.Sprintf("the ref is not made of an image's name (%v): `ostree refs --delete %s` removes it", err, ref.Name)
	} else {
		image.Reference = name.String()
	}
	if ref.Err != nil {
		image.damaged(refError(ref.Name, ref.Err))
		return image, storedImage{}
	}
	image.Commit = ref.Commit.String()
	s, err := im.readStored(ref.Commit)
	image.ManifestDigest, image.ConfigDigest, image.Version = s.digest, s.manifest.Config.Digest, s.config.version()
	image.Created, _ = created(s.manifest, s.config)
	if err != nil {
		image.damaged(err)
		return image, s
	}
	im.describeLayers(&image, s)
	return image, s
}

// damaged notes the first thing that is wrong with an image.
func (image *Image) damaged(err error) {
	if image.Broken == "" {
		image.Broken = fmt.Sprintf("%v; importing the image again brings back what is missing", err)
	}
}

func (im *Importer) describeLayers(image *Image, s storedImage) {
	notes := layerHistory(s.config, len(s.manifest.Layers))
	kinds := layerKinds(s.config, len(s.manifest.Layers))
	seen := map[digest.Digest]bool{}
	for i, l := range s.manifest.Layers {
		stored, err := im.readLayer(l.Digest)
		if err != nil {
			image.damaged(fmt.Errorf("layer %d/%d %s: %w", i+1, len(s.manifest.Layers), shortDigest(l.Digest), err))
		}
		layer := ImageLayer{
			Digest: l.Digest, Size: uint64(max(0, l.Size)), MediaType: l.MediaType, Kind: kinds[i],
			Ref: stored.ref, CreatedBy: notes[i].createdBy, Created: notes[i].created, Filtered: stored.filtered,
		}
		if i < len(s.config.RootFS.DiffIDs) {
			layer.DiffID = s.config.RootFS.DiffIDs[i]
		}
		if !stored.commit.IsZero() {
			layer.Commit = stored.commit.String()
		}
		image.Layers = append(image.Layers, layer)
		if len(stored.filtered) > 0 {
			image.Filtered[l.Digest] = stored.filtered
		}
		if !seen[l.Digest] {
			seen[l.Digest] = true
			image.Size += layer.Size
		}
	}
}
