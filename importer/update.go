package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// CheckUpdate tells whether an image's name stands for another manifest at its origin than the
// stored one, and records that beside the stored image; with Offline it tells what is recorded, and
// with Forget it drops that. It fetches no layers.
func (im *Importer) CheckUpdate(ctx context.Context, req UpdateRequest) (*Update, error) {
	image, err := im.storedImage(req.Image)
	if KindOf(err) == KindNoSuchImage && req.NotStored && !req.Offline && !req.Forget {
		return im.checkNotStored(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	if req.Forget {
		if err := im.changeRecord(ctx, image.ref, image.Image, func(r *stored.Record) { r.Update = stored.Documents{} }); err != nil {
			return nil, stopped(ctx, StageLand, classify(StageLand, err))
		}
	}
	if req.Offline || req.Forget {
		return im.recordedUpdate(ctx, image)
	}
	prepared, err := im.Prepare(ctx, Request{Image: req.Image, Access: req.Access})
	if err != nil {
		return nil, err
	}
	defer prepared.discard()
	plan := prepared.Plan()
	if plan.ManifestDigest == image.Digest {
		return &Update{Stored: true, Reference: image.name.String()}, nil
	}
	update := plannedUpdate(plan, image.name)
	update.Stored = true
	return update, nil
}

// checkNotStored is CheckUpdate of an image that is not stored: all that its origin has is news.
func (im *Importer) checkNotStored(ctx context.Context, req UpdateRequest) (*Update, error) {
	ref, err := reference.Parse(req.Image)
	if err != nil {
		return nil, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	prepared, err := im.Prepare(ctx, Request{Image: req.Image, Access: req.Access})
	if err != nil {
		return nil, err
	}
	defer prepared.discard()
	return plannedUpdate(prepared.Plan(), ref.Image), nil
}

// plannedUpdate describes what an import of an image would bring.
func plannedUpdate(plan Plan, name reference.Image) *Update {
	return &Update{
		Available: true, Reference: name.String(), ManifestDigest: plan.ManifestDigest,
		Version: plan.Version, Created: plan.Created,
		LayersToFetch: plan.LayersToFetch, BytesToFetch: plan.BytesToFetch,
	}
}

// IsStored reports whether an image of this name is stored, in whatever state. ref is any form of
// reference; one that names no image names none that is stored.
func (im *Importer) IsStored(ref string) bool {
	_, err := im.storedImage(ref)
	kind := KindOf(err)
	return kind != KindNoSuchImage && kind != KindInvalidReference
}

// recordedUpdate tells what the last look at the origin has found.
func (im *Importer) recordedUpdate(ctx context.Context, image namedImage) (*Update, error) {
	record, err := stored.ReadRecord(im.repo, image.ref, image.Image)
	var newer *stored.Image
	if err == nil {
		newer, err = record.Newer()
	}
	if err != nil {
		return nil, &Error{
			Kind: KindCorrupted, Stage: StageInventory, Err: fmt.Errorf("%s: %w", image.name, err),
			Hint: "ask its origin, which records it anew",
		}
	}
	update := &Update{}
	if newer != nil {
		update = im.describeUpdate(ctx, newer)
	}
	update.Stored, update.Reference = true, image.name.String()
	return update, nil
}

// describeUpdate describes a recorded newer image. What is to be fetched is what an import finds
// that is to be fetched.
func (im *Importer) describeUpdate(ctx context.Context, newer *stored.Image) *Update {
	update := &Update{Available: true, ManifestDigest: newer.Digest, Version: newer.Config.Version()}
	update.Created, _ = document.Created(newer.Manifest, newer.Config)
	p := im.Resume(Plan{
		Request: Request{NoRef: true}, Manifest: newer.RawManifest, Config: newer.RawConfig, ManifestDigest: newer.Digest,
	})
	if err := p.assess(ctx); err != nil { // then an import says why it cannot be had, and nothing is known to be here
		im.log.WithField("manifest", newer.Digest).WithError(err).Debug("looking what a newer image lacks here")
		p.plan.forgetLayers()
	}
	update.LayersToFetch, update.BytesToFetch = p.plan.LayersToFetch, p.plan.BytesToFetch
	return update
}

// forgetLayers makes all layers ones that are to be fetched.
func (plan *Plan) forgetLayers() {
	for i := range plan.Layers {
		plan.Layers[i].Cached = false
	}
	plan.count()
}

// noteUpdate records what the name of a stored image stands for at its origin, or that it is what
// is stored. An image that is imported from another name than it is recorded under is no news of
// that name. That it can't be recorded, as on a read-only file system, is no failure of finding it
// out.
func (p *Prepared) noteUpdate(ctx context.Context, origin reference.Image) {
	ref, err := reference.ImageRef(origin)
	if err != nil || ref != p.plan.ImageRef {
		return
	}
	if err := p.tryNoteUpdate(ctx); err != nil {
		p.im.log.WithField("image", p.plan.Reference).WithError(err).Warn("recording which image is the newest of its name")
	}
}

func (p *Prepared) tryNoteUpdate(ctx context.Context) error {
	im, ref := p.im, p.plan.ImageRef
	commit, err := im.repo.Resolve(ref)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return nil
	}
	if err != nil {
		return err
	}
	image, err := stored.ReadImage(im.repo, commit)
	if err != nil { // about to be imported anew
		return nil
	}
	metadata, err := p.plan.metadata()
	if err != nil {
		return err
	}
	return im.changeRecord(ctx, ref, image, func(r *stored.Record) {
		r.Update = stored.Documents{}
		if p.plan.ManifestDigest != image.Digest {
			r.Update = stored.OfDocuments(metadata)
		}
	})
}
