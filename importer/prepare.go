package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// Prepared is an import that can start. It is used by one goroutine at a time and ended by Close.
type Prepared struct {
	im      *Importer
	plan    Plan
	source  Source // nil until a blob is needed, unless Prepare opened it
	voucher voucher
	ground  ground
	// writeRef, when not empty, is to name the base commit as soon as its layer's ref does.
	writeRef string
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

// Resume takes up a stored plan. It opens the image, by the plan's digest, only when a layer is
// missing.
func (im *Importer) Resume(plan Plan) *Prepared { return &Prepared{im: im, plan: plan} }

// Prepare opens the image and says what an import of it would do. An image that is named by a
// digest and stored with that digest is not opened, unless its own signature is to be checked. That
// its name stands for another image than the one that is stored under it, or for that again, is
// recorded beside that one: see CheckUpdate.
func (im *Importer) Prepare(ctx context.Context, req Request) (*Prepared, error) {
	im.Sweep(ctx)
	n, err := resolve(req)
	if err != nil {
		return nil, err
	}
	p := &Prepared{im: im, plan: Plan{Request: req, Reference: n.source.String(), ImageRef: n.ref}}
	if err := p.prepare(ctx, n); err != nil {
		p.discard()
		return nil, stopped(ctx, StagePlan, err)
	}
	im.noteTimes(&p.plan)
	return p, nil
}

func (p *Prepared) prepare(ctx context.Context, n names) error {
	p.voucher.who = n.source.Signature
	if err := p.checkSignature(ctx); err != nil {
		return err
	}
	if !p.planStored(n.source.Image.Digest()) {
		if err := p.im.checkRef(n.ref); err != nil {
			return err
		}
		if p.plan.Request.Offline {
			return p.offline()
		}
		if err := p.load(ctx, n.source.Image); err != nil {
			return stopped(ctx, StageManifest, err)
		}
	}
	crashpoint.Pass("prepare loaded")
	err := p.im.parsing(ctx, len(p.plan.Manifest)+len(p.plan.Config), func() error {
		if err := p.assess(ctx); err != nil {
			return err
		}
		crashpoint.Pass("prepare planned")
		if p.plan.Request.Offline && p.plan.LayersToFetch > 0 {
			return p.offline()
		}
		_, err := p.plan.metadata() // what the commit can't hold is no reason to fetch layers first
		return err
	})
	if err != nil {
		return err
	}
	if p.source != nil {
		p.noteUpdate(ctx, n.source.Image)
		crashpoint.Pass("prepare noted")
	}
	return nil
}

// offline is the error for what would need the source.
func (p *Prepared) offline() error {
	e := &Error{Kind: KindOffline, Stage: StageOpen, Hint: "import it without --offline"}
	switch {
	case p.voucher.who.Kind == reference.PolicyStrict:
		e.Err = errors.New("the image's signature can't be checked without its source")
	case p.plan.LayersToFetch > 0:
		e.Err = fmt.Errorf("%d layers of the image are missing", p.plan.LayersToFetch)
	default:
		e.Err = errors.New("no stored image has this name and is pinned by digest, and what a tag stands for only the source knows")
		e.Hint = "name the digest of a stored image, or " + e.Hint
	}
	return e
}

// discard ends the source of a Prepared that is not returned. Its error is of no use to anybody.
func (p *Prepared) discard() {
	if err := p.Close(); err != nil {
		p.im.log.WithError(err).Debug("closing a source")
	}
}

// planStored takes manifest and config from the stored image if that is what pinned names. Should a
// layer be missing, Import opens the source for it. Only the source can tell what the containers
// policy says of an image.
func (p *Prepared) planStored(pinned digest.Digest) bool {
	plan := &p.plan
	required := plan.Request.Digest
	if pinned == "" && plan.Request.Offline {
		pinned = required
	}
	if pinned == "" || plan.ImageRef == "" || required != "" && required != pinned || p.voucher.who.Kind == reference.PolicyStrict {
		return false
	}
	commit, err := p.im.repo.Resolve(plan.ImageRef)
	if err != nil {
		return false
	}
	s, err := stored.ReadImage(p.im.repo, commit)
	if err != nil || s.Digest != pinned || s.RawConfig == nil || plan.Request.RequireVerified && !makingOf(&s).proven {
		return false
	}
	plan.Manifest, plan.Config, plan.ManifestDigest = s.RawManifest, s.RawConfig, s.Digest
	plan.ConfigReplaced = s.ConfigReplaced
	return true
}

// load opens the image and fetches manifest and config into the plan, verified.
func (p *Prepared) load(ctx context.Context, image reference.Image) (err error) {
	req := p.plan.Request
	if p.source, err = p.im.openSource(ctx, image, req.Access.With(req.ImageFD)); err != nil {
		return err
	}
	raw, dgst, err := p.source.Manifest(ctx)
	if err != nil {
		return classify(StageManifest, err)
	}
	if err := checkDigest(dgst, req.Digest); err != nil {
		return err
	}
	var m *ocispec.Manifest
	err = p.im.parsing(ctx, len(raw), func() (err error) {
		if m, err = document.ParseManifest(raw); err != nil {
			err = &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: err}
		}
		return err
	})
	if err != nil {
		return err
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
	p.replaceConfig()
	return nil
}

// documentMemory is the memory, in bytes, that is counted for each byte of a document that is
// parsed. The worst, a list of empty objects that becomes a list of descriptors, takes twice as much.
// With this the largest document takes half of the default budget, so that it need not wait until
// every layer of a slow registry has come.
const documentMemory = 32

// parsing runs work, which parses documents of that many bytes and refuses what is longer than
// document.MaxSize, when there is memory for it.
func (im *Importer) parsing(ctx context.Context, size int, work func() error) error {
	need := documentMemory * int64(min(size, document.MaxSize))
	return im.memory.Run(ctx, need, func(*budget.Share) error { return work() })
}

// replaceConfig makes a config that has no canonical form one that has. Its labels and its history
// are data, which are no reason to refuse an image.
func (p *Prepared) replaceConfig() {
	if len(p.plan.Config) > document.MaxSize {
		return // it is refused when it is parsed
	}
	text, replaced, err := document.Canonical(p.plan.Config)
	if err != nil || replaced == nil {
		return // the parser refuses it, or nothing is wrong with it
	}
	p.im.log.WithField("image", p.plan.Reference).WithError(replaced).
		Warn("the image's config cannot be stored as it is: replacing what canonical JSON cannot express")
	p.plan.Config, p.plan.ConfigReplaced = text, true
}

// checkDigest compares the manifest's digest with the one that is required, if any. A digest in the
// image's name is not looked at: it may be that of an index, of which only the source knows what it
// holds, and the source has checked it.
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
	_, ignored := document.Created(m, c)
	for _, text := range ignored {
		im.log.WithField("image", plan.Reference).Warnf("ignoring the image's creation time %q, which is not an RFC 3339 time", text)
	}
}
