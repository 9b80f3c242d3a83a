package importer

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// documents decodes the plan's manifest and config and refuses an image that can't be imported.
func (plan *Plan) documents() (*ocispec.Manifest, *document.Config, error) {
	m, err := document.ParseManifest(plan.Manifest)
	if err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: err}
	}
	c, err := document.ParseConfig(plan.Config)
	if err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: err}
	}
	if err := document.CheckImage(m, c); err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: err}
	}
	return m, c, nil
}

// assess fills in everything of the plan that follows from its documents and from what the
// repository holds now.
func (p *Prepared) assess(ctx context.Context) error {
	plan := &p.plan
	m, c, err := plan.documents()
	if err != nil {
		return err
	}
	if err := checkRequirements(plan.Request, c); err != nil {
		return err
	}
	plan.ConfigDigest = m.Config.Digest
	plan.Version = c.Version()
	plan.Created, _ = document.Created(m, c)
	plan.Layers = make([]LayerPlan, len(m.Layers))
	notes := document.History(c, len(m.Layers))
	kinds := document.Kinds(c, len(m.Layers))
	for i, l := range m.Layers {
		plan.Layers[i] = LayerPlan{
			Digest: l.Digest, DiffID: c.RootFS.DiffIDs[i], Size: uint64(l.Size), MediaType: l.MediaType,
			Kind: kinds[i], CreatedBy: notes[i].CreatedBy,
		}
	}
	if err := p.checkVouchable(); err != nil {
		return err
	}
	if err := p.assessBase(ctx); err != nil {
		return err
	}
	if err := p.assessDerived(); err != nil {
		return err
	}
	return p.assessImage()
}

// count sums up what is to be fetched.
func (plan *Plan) count() {
	plan.LayersToFetch, plan.BytesToFetch, plan.BytesTotal = 0, 0, 0
	seen := map[digest.Digest]bool{}
	for _, l := range plan.Layers {
		if seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		plan.BytesTotal += l.Size
		if !l.Cached {
			plan.LayersToFetch++
			plan.BytesToFetch += l.Size
		}
	}
}

// assessImage compares the plan with the image that its ref names now.
func (p *Prepared) assessImage() error {
	im, plan := p.im, &p.plan
	plan.AlreadyPresent, plan.Commit = false, ""
	plan.PreviousDigest, plan.PreviousVersion, plan.PreviousCommit = "", "", ""
	if plan.ImageRef == "" {
		return nil
	}
	commit, err := im.repo.Resolve(plan.ImageRef)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return nil
	}
	if err != nil {
		return classify(StagePlan, stored.RefError(plan.ImageRef, err))
	}
	s, err := stored.ReadImage(im.repo, commit)
	plan.PreviousDigest, plan.PreviousVersion, plan.PreviousCommit = s.Digest, s.Config.Version(), commit.String()
	if errors.Is(err, ostreerepo.ErrCorrupted) {
		return classify(StagePlan, err)
	}
	if err != nil {
		im.log.WithField("image", plan.Reference).WithError(err).Warn("the stored image is incomplete: importing it again")
		return nil
	}
	if s.Digest == plan.ManifestDigest && p.vouchedFor(s) && im.complete(s) && p.verified(&s) {
		plan.AlreadyPresent, plan.Commit = true, commit.String()
		// Layers that other path rules made are as good: nothing will be merged.
		plan.LayersToFetch, plan.BytesToFetch = 0, 0
		for i := range plan.Layers {
			plan.Layers[i].Cached = true
		}
	}
	return nil
}

// layerError says which layer of the plan an error is about; index counts from 1, 0 is none.
func (plan *Plan) layerError(e *Error, index int) *Error {
	if index > 0 {
		e.LayerIndex, e.LayerCount, e.Layer = index, len(plan.Layers), plan.Layers[index-1].Digest
	}
	return e
}
