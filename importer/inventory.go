package importer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// Image is a stored image.
type Image struct {
	Reference      string                              `json:"reference"` // as reference.Image prints it
	ImageRef       string                              `json:"image-ref"`
	ManifestDigest digest.Digest                       `json:"manifest-digest"`
	ConfigDigest   digest.Digest                       `json:"config-digest"`
	Commit         string                              `json:"commit"`
	BaseCommit     string                              `json:"base-commit,omitempty"` // the OSTree commit inside; empty: a plain image
	VerifyText     string                              `json:"verify-text,omitempty"` // what the check of that commit's signatures said
	Version        string                              `json:"version,omitempty"`
	Created        time.Time                           `json:"created,omitzero"`
	Layers         []ImageLayer                        `json:"layers"`
	Size           uint64                              `json:"size"`        // compressed, of all distinct layers
	SizeUnique     uint64                              `json:"size-unique"` // of those that no other stored image has
	SizeShared     uint64                              `json:"size-shared"` // of those that other stored images have too
	Filtered       map[digest.Digest]map[string]uint32 `json:"filtered"`
	Manifest       json.RawMessage                     `json:"manifest,omitempty"` // only from Importer.Image
	Config         json.RawMessage                     `json:"config,omitempty"`   // only from Importer.Image
	// Update is the newer image that the last look at the origin has found, nil for none.
	Update *Update `json:"update,omitempty"`
	// Unverified lists what this program has not verified of the image.
	Unverified []Unverified `json:"unverified,omitempty"`
	// Broken, when not empty, says what is wrong and how to repair it; the other fields hold what
	// could be read.
	Broken string `json:"broken,omitempty"`
}

// ImageLayer is one layer of a stored image.
type ImageLayer struct {
	Digest    digest.Digest     `json:"digest"`
	DiffID    digest.Digest     `json:"diff-id,omitempty"`
	Size      uint64            `json:"size"`
	MediaType string            `json:"media-type"`
	Kind      string            `json:"kind"`
	Ref       string            `json:"ref"`
	Commit    string            `json:"commit,omitempty"` // empty when the ref is missing
	CreatedBy string            `json:"created-by,omitempty"`
	Created   time.Time         `json:"created,omitzero"`
	Filtered  map[string]uint32 `json:"filtered,omitempty"`
}

// Images lists the stored images by ref. A broken one is listed with its reason and doesn't fail
// the listing.
func (im *Importer) Images(ctx context.Context) ([]Image, error) {
	refs, err := im.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	held := make([]holding, len(refs))
	err = each(ctx, len(refs), func(i int) {
		held[i] = im.hold(ctx, refs[i])
		held[i].forgetDocuments()
	})
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	layers, err := im.layersOf(ctx, held)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	o := owners{}
	for i := range held {
		o.add(held[i].layers)
	}
	images := make([]Image, len(held))
	for i := range held {
		images[i] = held[i].describe(layers, o)
		images[i].Unverified = im.unverifiedOf(&held[i], layers)
	}
	return images, nil
}

// Image gives one stored image with its manifest and config. ref is any form of reference that
// names it, or its ref. A broken image is returned with its reason; the error has KindNoSuchImage
// when there is none.
func (im *Importer) Image(ctx context.Context, ref string) (*Image, error) {
	if ctx.Err() != nil {
		return nil, classify(StageInventory, context.Cause(ctx))
	}
	name, err := im.storedRef(ref)
	if err != nil {
		return nil, err
	}
	commit, err := im.repo.Resolve(name)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		image, err := reference.ImageOfRef(name)
		if err != nil {
			return nil, &Error{Kind: KindNoSuchImage, Stage: StageInventory, Err: fmt.Errorf("no image has the ref %s in %s", name, im.repo.Path())}
		}
		return nil, im.noSuchImage(image)
	}
	refs, refsErr := im.repo.Refs(reference.ImagePrefix)
	if refsErr != nil {
		return nil, classify(StageInventory, refsErr)
	}
	o, stop := im.ownersOf(ctx, refs)
	if stop != nil {
		return nil, classify(StageInventory, stop)
	}
	held := im.hold(ctx, ostreerepo.Ref{Name: name, Commit: commit, Err: err})
	layers, err := im.layersOf(ctx, []holding{held})
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	image := held.describe(layers, o)
	image.Unverified = im.unverifiedOf(&held, layers)
	image.Manifest, image.Config = asJSON(held.image.RawManifest), asJSON(held.image.RawConfig)
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
func (h *holding) describe(layers map[digest.Digest]*heldLayer, o owners) Image {
	ref, s := h.ref, &h.image
	image := Image{ImageRef: ref.Name, Reference: ref.Name, Layers: []ImageLayer{}, Filtered: map[digest.Digest]map[string]uint32{}}
	if name, err := reference.ImageOfRef(ref.Name); err != nil {
		image.Broken = fmt.Sprintf("the ref is not made of an image's name (%v): `ostree refs --delete %s` removes it", err, ref.Name)
	} else {
		image.Reference = name.String()
	}
	if ref.Err == nil {
		image.Commit = ref.Commit.String()
	}
	image.ManifestDigest, image.ConfigDigest, image.Version = s.Digest, s.Manifest.Config.Digest, s.Config.Version()
	image.Created, _ = document.Created(s.Manifest, s.Config)
	image.VerifyText = h.signature
	if h.err != nil {
		image.damaged(h.err)
	}
	o.measure(&image, h.layers)
	if h.whole {
		h.describeLayers(&image, layers)
	}
	if h.update != nil {
		image.Update = h.update
		image.Update.Stored, image.Update.Reference = true, image.Reference
	}
	return image
}

// damaged notes the first thing that is wrong with an image.
func (image *Image) damaged(err error) {
	if image.Broken == "" {
		image.Broken = fmt.Sprintf("%v; importing the image again brings back what is missing", err)
	}
}

func (h *holding) describeLayers(image *Image, layers map[digest.Digest]*heldLayer) {
	s := &h.image
	notes := document.History(s.Config, len(s.Manifest.Layers))
	for i, l := range s.Manifest.Layers {
		held := layers[l.Digest]
		err := held.err
		if err == nil {
			err = held.CheckKind(h.kinds[i])
		}
		if err != nil {
			image.damaged(fmt.Errorf("layer %d/%d %s: %w", i+1, len(s.Manifest.Layers), shortDigest(l.Digest), err))
		}
		if i == 0 && held.Kind == document.KindCommit {
			image.BaseCommit = held.Commit.String()
		}
		layer := ImageLayer{
			Digest: l.Digest, Size: uint64(max(0, l.Size)), MediaType: l.MediaType, Kind: cmp.Or(h.kinds[i], held.Kind),
			Ref: held.Ref, CreatedBy: notes[i].CreatedBy, Created: notes[i].Created, Filtered: held.Filtered,
		}
		if i < len(s.Config.RootFS.DiffIDs) {
			layer.DiffID = s.Config.RootFS.DiffIDs[i]
		}
		if !held.Commit.IsZero() {
			layer.Commit = held.Commit.String()
		}
		image.Layers = append(image.Layers, layer)
		if len(held.Filtered) > 0 {
			image.Filtered[l.Digest] = held.Filtered
		}
	}
}
