package importer

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Prepared is an import that can start. It is used by one goroutine at a time and ended by Close.
type Prepared struct {
	im     *Importer
	plan   Plan
	source Source // nil until a blob is needed, unless Prepare opened it
}

// Plan says what Import will do, as known when it was made; after an Import, what that found.
func (p *Prepared) Plan() Plan { return p.plan }

// Close releases the source. It may be called more than once.
func (p *Prepared) Close() error {
	if p.source == nil {
		return nil
	}
	source := p.source
	p.source = nil
	return source.Close()
}

// Resume takes up a stored plan. It opens the image, by the plan's digest, only when a layer is missing.
func (im *Importer) Resume(plan Plan) *Prepared { return &Prepared{im: im, plan: plan} }

// Prepare opens the image and says what an import of it would do. An image that is named by a digest and stored with that
// digest is not opened.
func (im *Importer) Prepare(ctx context.Context, req Request) (*Prepared, error) {
	n, err := im.resolve(req)
	if err != nil {
		return nil, err
	}
	p := &Prepared{im: im, plan: Plan{Request: req, Reference: n.source.String(), ImageRef: n.ref}}
	if !im.planStored(&p.plan, n.source.Image.Digest()) {
		if err := im.checkRef(n.ref); err != nil {
			return nil, err
		}
		if err := p.load(ctx, n.source.Image); err != nil {
			p.discard()
			return nil, stopped(ctx, StageManifest, err)
		}
	}
	err = im.assess(&p.plan)
	if err == nil {
		_, err = p.plan.metadata() // what the commit can't hold is no reason to fetch layers first
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	im.noteTimes(&p.plan)
	return p, nil
}

// discard ends the source of a Prepared that is not returned. Its error is of no use beside the one that led here.
func (p *Prepared) discard() {
	if err := p.Close(); err != nil {
		p.im.log.WithError(err).Debug("closing the source of a failed prepare")
	}
}

// planStored takes manifest and config from the stored image if that is what pinned names. Should a layer be missing, Import
// opens the source for it.
func (im *Importer) planStored(plan *Plan, pinned digest.Digest) bool {
	if required := plan.Request.Digest; pinned == "" || plan.ImageRef == "" || required != "" && required != pinned {
		return false
	}
	commit, err := im.repo.Resolve(plan.ImageRef)
	if err != nil {
		return false
	}
	s, err := im.readStored(commit)
	if err != nil || s.digest != pinned || s.rawConfig == nil {
		return false
	}
	plan.Manifest, plan.Config, plan.ManifestDigest = s.rawManifest, s.rawConfig, s.digest
	return true
}

// load opens the image and fetches manifest and config into the plan, verified.
func (p *Prepared) load(ctx context.Context, image reference.Image) (err error) {
	req := p.plan.Request
	if p.source, err = p.im.openSource(ctx, image, req.Access); err != nil {
		return err
	}
	raw, dgst, err := p.source.Manifest(ctx)
	if err != nil {
		return classify(StageManifest, err)
	}
	if err := checkDigest(dgst, req.Digest); err != nil {
		return err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: err}
	}
	p.plan.Manifest, p.plan.ManifestDigest = raw, dgst

	config, err := p.source.Config(ctx)
	if err != nil {
		return classify(StageConfig, err)
	}
	if got := m.Config.Digest.Algorithm().FromBytes(config); got != m.Config.Digest {
		return &Error{Kind: KindDigestMismatch, Stage: StageConfig, Err: fmt.Errorf("the config has the digest %s, but the manifest says %s", got, m.Config.Digest)}
	}
	p.plan.Config = config
	return nil
}

// checkDigest compares the manifest's digest with the one that is required, if any. A digest in the image's name is not
// looked at: it may be that of an index, of which only the source knows what it holds, and the source has checked it.
func checkDigest(got, required digest.Digest) error {
	mismatch := func(format string, args ...any) error {
		return &Error{Kind: KindManifestMismatch, Stage: StageManifest, Err: fmt.Errorf(format, args...)}
	}
	if err := got.Validate(); err != nil {
		return mismatch("the source gives the manifest digest %q: %w", got, err)
	}
	if required != "" && got != required {
		return mismatch("the image's manifest is %s, but %s is required", got, required)
	}
	return nil
}

// noteTimes logs the creation times of an image that are no times.
func (im *Importer) noteTimes(plan *Plan) {
	m, c, err := plan.documents()
	if err != nil {
		return
	}
	_, ignored := created(m, c)
	for _, text := range ignored {
		im.log.WithField("image", plan.Reference).Warnf("ignoring the image's creation time %q, which is not an RFC 3339 time", text)
	}
}
