package importer

import (
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// documents decodes the plan's manifest and config and refuses an image that can't be imported.
func (plan *Plan) documents() (*ocispec.Manifest, *imageConfig, error) {
	m, err := parseManifest(plan.Manifest)
	if err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: err}
	}
	c, err := parseConfig(plan.Config)
	if err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: err}
	}
	if err := checkImage(m, c); err != nil {
		return nil, nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: err}
	}
	return m, c, nil
}

// assess fills in everything of a plan that follows from its documents and from what the repository holds now.
func (im *Importer) assess(plan *Plan) error {
	m, c, err := plan.documents()
	if err != nil {
		return err
	}
	plan.ConfigDigest = m.Config.Digest
	plan.Version = c.version()
	plan.Created, _ = created(m, c)
	plan.Layers = make([]LayerPlan, len(m.Layers))
	plan.LayersToFetch, plan.BytesToFetch, plan.BytesTotal = 0, 0, 0
	notes := layerHistory(c, len(m.Layers))
	kinds := layerKinds(c, len(m.Layers))
	seen := map[digest.Digest]bool{}
	for i, l := range m.Layers {
		plan.Layers[i].Digest = l.Digest
		p := LayerPlan{
			Digest: l.Digest, DiffID: c.RootFS.DiffIDs[i], Size: uint64(l.Size), MediaType: l.MediaType,
			Kind: kinds[i], CreatedBy: notes[i].createdBy,
		}
		stored, ok, err := im.cached(p, plan.Request.DropSpecialFiles)
		if err != nil {
			return plan.layerError(classify(StagePlan, err), i+1)
		}
		p.Ref, p.Cached = stored.ref, ok
		if !stored.commit.IsZero() {
			p.Commit = stored.commit.String()
		}
		plan.Layers[i] = p
		if seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		plan.BytesTotal += p.Size
		if !ok {
			plan.LayersToFetch++
			plan.BytesToFetch += p.Size
		}
	}
	return im.assessImage(plan)
}

// assessImage compares the plan with the image that its ref names now.
func (im *Importer) assessImage(plan *Plan) error {
	plan.AlreadyPresent, plan.Commit, plan.PreviousDigest = false, "", ""
	if plan.ImageRef == "" {
		return nil
	}
	commit, err := im.repo.Resolve(plan.ImageRef)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return nil
	}
	if err != nil {
		return classify(StagePlan, refError(plan.ImageRef, err))
	}
	s, err := im.readStored(commit)
	plan.PreviousDigest = s.digest
	if errors.Is(err, ostreerepo.ErrCorrupted) {
		return classify(StagePlan, err)
	}
	if err != nil {
		im.log.WithField("image", plan.Reference).WithError(err).Warn("the stored image is incomplete: importing it again")
		return nil
	}
	if s.digest == plan.ManifestDigest && im.complete(s) {
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
