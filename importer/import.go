package importer

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Import fetches the missing layers, merges all and records the image. What is missing is found
// anew, so a layer that has come or gone since the plan was made is no trouble.
//
// progress may be nil. It is called by one goroutine, at most five times a second plus once for
// each stage that begins and once at the end, and must not block; Import returns after the last
// call. When it has been called with StageLand the image ref is about to be written, and with
// StageCollect it is.
//
// Meanwhile nothing is collected; at the end what no image needs any more is, unless the request
// says otherwise, nothing names what was fetched, or somebody else works on the repository.
func (p *Prepared) Import(ctx context.Context, progress func(Progress)) (*Result, error) {
	p.im.Sweep(ctx)
	r := newReporter(&p.plan, steady(progress))
	defer r.close()
	lock, err := p.im.lock(ctx, StagePlan, false, func(wait Progress) { r.enter(wait.Stage) })
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	res, err := p.importLocked(ctx, r)
	if err != nil {
		return nil, err
	}
	// A commit that no ref names lasts as long as the refs of its layers.
	if req := p.plan.Request; !res.AlreadyPresent && (!req.NoRef || p.writeRef != "") && !req.SkipGC {
		lock.Close()
		r.enter(StageCollect)
		p.im.collectAfter(ctx)
	}
	return res, nil
}

// importLocked does the work of Import while nobody collects.
func (p *Prepared) importLocked(ctx context.Context, r *reporter) (*Result, error) {
	r.leaveWait()
	if err := p.begin(ctx); err != nil {
		return nil, stopped(ctx, StagePlan, err)
	}
	r.replan(&p.plan)
	if p.plan.AlreadyPresent {
		p.noteSignature(ctx)
		return p.result(true, 0)
	}
	// The repository may have changed since Prepare.
	if err := p.im.checkRef(p.plan.ImageRef); err != nil {
		return nil, err
	}
	if err := p.im.checkSpace(&p.plan); err != nil {
		return nil, err
	}
	f := &fetcher{im: p.im, plan: &p.plan, progress: r}
	if p.plan.encapsulated() {
		if err := p.importBase(ctx, f); err != nil {
			return nil, stopped(ctx, StageFetch, err)
		}
	}
	if err := p.importDerived(ctx, f); err != nil {
		return nil, stopped(ctx, StageFetch, err)
	}
	if !p.plan.Request.NoRef {
		if err := p.merge(ctx, r); err != nil {
			return nil, stopped(ctx, StageMerge, err)
		}
	}
	return p.result(false, f.bytes.Load())
}

// begin finds out what there is to do.
func (p *Prepared) begin(ctx context.Context) error {
	n, err := resolve(p.plan.Request)
	if err != nil {
		return err
	}
	p.voucher.who = n.source.Signature
	return p.assess(ctx)
}

// importDerived fetches the layers above the base commit that are missing. Their ground is known.
func (p *Prepared) importDerived(ctx context.Context, f *fetcher) error {
	if p.plan.encapsulated() { // what the plan said before may have been a guess
		if err := p.assessDerived(); err != nil {
			return err
		}
		f.progress.replan(&p.plan)
	}
	if err := p.landReused(ctx); err != nil {
		return err
	}
	missing := p.plan.missing(func(l LayerPlan) bool { return l.Kind == document.KindDerived })
	if len(missing) == 0 {
		return nil
	}
	if err := p.startFetch(ctx, f); err != nil {
		return err
	}
	f.ground = p.ground
	return f.run(ctx, missing)
}

// landReused sets the refs of layers that are here under another digest.
func (p *Prepared) landReused(ctx context.Context) error {
	commits := map[string]objects.Checksum{}
	for _, l := range p.plan.Layers {
		if l.ReusedFrom == "" {
			continue
		}
		c, err := objects.ParseChecksum(l.Commit)
		if err != nil {
			return classify(StageLand, err)
		}
		commits[l.Ref] = c
	}
	if len(commits) == 0 {
		return nil
	}
	st, err := p.im.repo.NewStaging()
	if err != nil {
		return classify(StageLand, err)
	}
	defer p.im.closeStaging(st)
	for ref, c := range commits {
		if err := st.SetRef(ref, c); err != nil {
			return classify(StageLand, err)
		}
	}
	if err := st.Land(ctx); err != nil {
		return classify(StageLand, err)
	}
	return nil
}

// startFetch makes the fetcher ready, once.
func (p *Prepared) startFetch(ctx context.Context, f *fetcher) error {
	if f.source != nil {
		return nil
	}
	f.progress.enter(StageFetch)
	if err := p.reopen(ctx); err != nil {
		return stopped(ctx, StageOpen, err)
	}
	f.source = p.source
	return nil
}

// reopen opens the source of a plan that has none yet, and makes sure that it is still the planned
// image.
func (p *Prepared) reopen(ctx context.Context) error {
	if p.source != nil {
		return nil
	}
	if p.plan.Request.Offline {
		return p.offline()
	}
	n, err := resolve(p.plan.Request)
	if err != nil {
		return err
	}
	if err := p.checkSignature(ctx); err != nil {
		return err
	}
	source, err := p.im.openSource(ctx, n.source.Image.Pinned(p.plan.ManifestDigest), p.plan.Request.Access.With(p.plan.Request.ImageFD))
	if err != nil {
		return gone(classify(StageOpen, err))
	}
	p.source = source
	_, dgst, err := source.Manifest(ctx)
	if err != nil {
		return gone(classify(StageManifest, err))
	}
	if dgst != p.plan.ManifestDigest {
		return &Error{
			Kind: KindManifestGone, Stage: StageManifest,
			Err:  fmt.Errorf("the image is now %s, but %s was prepared", dgst, p.plan.ManifestDigest),
			Hint: "prepare it anew",
		}
	}
	return nil
}

// result tells what the repository holds after the import.
func (p *Prepared) result(present bool, fetched uint64) (*Result, error) {
	plan := &p.plan
	res := &Result{
		Reference: plan.Reference, ImageRef: plan.ImageRef, ManifestDigest: plan.ManifestDigest, ConfigDigest: plan.ConfigDigest,
		Commit: plan.Commit, AlreadyPresent: present, Layers: make([]LayerResult, len(plan.Layers)),
		Filtered: map[digest.Digest]map[string]uint32{}, BytesFetched: fetched, VerifyText: p.voucher.text,
	}
	if plan.BaseCommit != "" {
		res.BaseCommit = &plan.BaseCommit
	}
	for i, l := range plan.Layers {
		held, err := p.layer(i)
		if err != nil {
			return nil, p.plan.layerError(classify(StageInventory, err), i+1)
		}
		if len(held.Filtered) > 0 {
			res.Filtered[l.Digest] = held.Filtered
		}
		res.Layers[i] = LayerResult{
			Digest: l.Digest, DiffID: l.DiffID, Size: l.Size, Ref: l.Ref, Commit: held.Commit.String(), Kind: l.Kind,
			Cached: l.Cached || present, Unverified: held.IsForeign(),
		}
	}
	res.tellChange(plan)
	return res, nil
}

// tellChange fills in what the image's name stood for before the import and stands for now.
func (r *Result) tellChange(plan *Plan) {
	r.To = ImageVersion{Version: plan.Version, ManifestDigest: r.ManifestDigest, Commit: r.Commit}
	if plan.ImageRef == "" {
		r.Changed = slices.ContainsFunc(r.Layers, func(l LayerResult) bool { return !l.Cached })
		return
	}
	if plan.PreviousCommit != "" {
		r.From = &ImageVersion{Version: plan.PreviousVersion, ManifestDigest: plan.PreviousDigest, Commit: plan.PreviousCommit}
	}
	r.Changed = r.From == nil || r.From.Commit != r.Commit
}

// closeStaging removes a staging repository. If that fails the next import removes it.
func (im *Importer) closeStaging(st *ostreerepo.Staging) {
	if err := st.Close(); err != nil {
		im.log.WithError(err).Warn("removing a staging repository")
	}
}
