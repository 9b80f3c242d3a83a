package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// importBase brings the encapsulated commit of an image into the repository, whole, and makes it
// the ground of the derived layers. Its chunks land as they come, so that a killed import keeps
// them; the ref of the commit's own layer appears when nothing is missing.
func (p *Prepared) importBase(ctx context.Context, f *fetcher) error {
	defer f.closeBase()
	if len(p.plan.missing(isBase)) == 0 {
		whole, err := p.hasWholeBase(ctx)
		if err != nil {
			return err
		}
		if whole {
			return p.setWriteRef(ctx, p.ground.base.Commit)
		}
		// Landed by themselves the chunks would bring nothing: see landBase.
		p.plan.forgetBase()
		if f.into, err = p.im.repo.NewStaging(); err != nil {
			return classify(StageLayer, err)
		}
		f.base.st = f.into
	}
	if err := p.fetchBase(ctx, f); err != nil {
		return err
	}
	commit, err := p.settleBase(ctx, f)
	if err != nil {
		return err
	}
	if err := p.setWriteRef(ctx, commit); err != nil {
		return err
	}
	return p.takeGround(ctx, commit)
}

// setWriteRef sets the ref that Unencapsulate is to write, if it did not land with the commit.
func (p *Prepared) setWriteRef(ctx context.Context, commit objects.Checksum) error {
	if p.writeRef == "" {
		return nil
	}
	if c, err := p.im.repo.Resolve(p.writeRef); err == nil && c == commit {
		return nil
	}
	if err := p.im.repo.SetRef(ctx, p.writeRef, commit); err != nil {
		return stopped(ctx, StageLand, classify(StageLand, err))
	}
	return nil
}

// isBase tells whether a layer is the encapsulated commit's.
func isBase(l LayerPlan) bool { return l.Kind != document.KindDerived }

// hasWholeBase tells whether the base commit, whose layers are all here, has all its objects.
func (p *Prepared) hasWholeBase(ctx context.Context) (bool, error) {
	st, err := p.im.repo.NewStaging()
	if err != nil {
		return false, classify(StagePlan, err)
	}
	defer p.im.closeStaging(st)
	err = st.Complete(ctx, p.ground.base.Commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		p.im.log.WithField("image", p.plan.Reference).WithError(err).Warn("the stored base commit lacks objects: fetching its layers again")
		return false, nil
	}
	if err != nil {
		return false, p.plan.layerError(classify(StagePlan, err), 1)
	}
	return true, nil
}

// forgetBase marks all layers of the base commit as missing.
func (plan *Plan) forgetBase() {
	for i := range plan.Layers {
		if isBase(plan.Layers[i]) {
			plan.Layers[i].Cached = false
		}
	}
	plan.count()
}

// fetchBase fetches the missing layers of the base commit. Where a remote is to vouch for that,
// nothing else is fetched before it has.
func (p *Prepared) fetchBase(ctx context.Context, f *fetcher) error {
	if err := p.checkSignature(ctx); err != nil {
		return err
	}
	f.progress.replan(&p.plan)
	if err := p.startFetch(ctx, f); err != nil {
		return err
	}
	defer func() { f.into = nil }()
	f.verify, f.trusted = p.vouch, p.voucher.who.Kind == reference.Remote
	isChunk := func(l LayerPlan) bool { return l.Kind == document.KindChunk }
	switch {
	case f.into != nil:
		return f.run(ctx, p.plan.missing(isBase))
	case p.plan.Layers[0].Cached || p.vouched():
		return p.fetchChunks(ctx, f, p.plan.missing(isBase))
	}
	if err := f.run(ctx, []int{0}); err != nil {
		return err
	}
	return p.fetchChunks(ctx, f, p.plan.missing(isChunk))
}

// fetchChunks fetches layers of the base commit, of which the chunks land by and by. Those that
// have come land also when another can't be had.
func (p *Prepared) fetchChunks(ctx context.Context, f *fetcher, layers []int) error {
	fetching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, err := startLander(ctx, p.im.repo, cancel)
	if err != nil {
		return err
	}
	defer p.im.closeStaging(l.st)
	f.chunks = l
	err = f.run(fetching, layers)
	if landErr := l.finish(); err == nil {
		err = landErr
	}
	for _, one := range l.landed {
		p.plan.landed(p.plan.Layers[one.index].Digest, one.Checksum)
	}
	for _, one := range l.doubtful {
		f.doubtful = append(f.doubtful, one.index)
	}
	return err
}

// settleBase makes sure that the base commit is whole, and lands it if anything of it was read into
// a staging.
func (p *Prepared) settleBase(ctx context.Context, f *fetcher) (objects.Checksum, error) {
	staged := f.base.st != nil
	if !staged { // only chunks were missing, and have landed
		st, err := p.im.repo.NewStaging()
		if err != nil {
			return objects.Checksum{}, classify(StageLayer, err)
		}
		f.base = stagedCommit{st, p.ground.base.Commit}
	}
	err := f.base.st.Complete(ctx, f.base.commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		staged = true // by now
		err = p.completeBase(ctx, f, err)
	}
	if err != nil {
		return objects.Checksum{}, stopped(ctx, StageLayer, p.plan.layerError(classify(StageLayer, err), 1))
	}
	if staged {
		crashpoint.Pass("base complete")
		err = p.landBase(ctx, f.base)
	}
	p.plan.landed(p.plan.Layers[0].Digest, f.base.commit)
	return f.base.commit, err
}

// completeBase fetches once more what may have brought less than it should: layers that were taken
// as they are, and those whose commits were there already when they landed. cause tells which
// object is missing after all.
func (p *Prepared) completeBase(ctx context.Context, f *fetcher, cause error) error {
	doubtful := f.doubtful
	seen := map[digest.Digest]bool{}
	for i, l := range p.plan.Layers {
		if isBase(l) && l.Cached && !seen[l.Digest] {
			doubtful = append(doubtful, i)
		}
		seen[l.Digest] = true
	}
	if len(doubtful) > 0 {
		p.im.log.WithField("image", p.plan.Reference).WithError(cause).Warn("stored layers of the base commit lack objects: fetching them again")
		p.plan.forgetBase()
		f.progress.replan(&p.plan)
		f.into = f.base.st
		err := f.run(ctx, doubtful)
		f.into = nil
		if err != nil {
			return err
		}
		cause = f.base.st.Complete(ctx, f.base.commit)
	}
	if errors.Is(cause, ostreerepo.ErrNoObject) {
		return &Error{
			Kind: KindUnsupportedImage,
			Err:  fmt.Errorf("the image's layers don't bring all objects of the commit in it: %w", cause),
			Hint: "encapsulate the commit anew",
		}
	}
	return cause
}

// landBase lands the base commit under the ref of its layer, and under the one that Unencapsulate
// is to write.
//
// ostree takes a commit that it has for whole, and would not bring what is missing. So where the
// commit is there already, its tree first lands with another commit, in whose place it then comes.
// A killed import may leave that one under the layer's ref: nobody takes it for the layer's commit,
// and the next import goes on.
func (p *Prepared) landBase(ctx context.Context, base stagedCommit) error {
	ref := p.plan.Layers[0].Ref
	if p.im.repo.Has(objects.KindCommit, base.commit) {
		c, err := base.st.Commit(base.commit)
		if err != nil {
			return classify(StageLand, err)
		}
		carrier, err := base.st.WriteCommit(objects.Commit{Metadata: objects.Dict{metaCarrier: objects.String(base.commit.String())}, Tree: c.Tree, Meta: c.Meta})
		if err != nil {
			return classify(StageLand, err)
		}
		if err := p.landRefs(ctx, base.st, carrier, ref); err != nil {
			return err
		}
	}
	crashpoint.Pass("base carried")
	refs := []string{ref}
	if p.writeRef != "" {
		refs = append(refs, p.writeRef)
	}
	if err := p.stageLayerRecord(base); err != nil {
		return classify(StageLand, err)
	}
	return p.landRefs(ctx, base.st, base.commit, refs...)
}

// stageLayerRecord records what was in the first layer, where the image's label does not tell.
func (p *Prepared) stageLayerRecord(base stagedCommit) error {
	if p.plan.namedCommit() != "" {
		return nil
	}
	ref := p.plan.Layers[0].Ref
	record, err := stored.WriteLayerRecord(base.st, stored.LayerRecord{LayerRef: ref, Commit: base.commit})
	if err != nil {
		return err
	}
	return base.st.SetRef(reference.RecordRef(ref), record)
}

// metaCarrier (s) in the metadata of a commit names the commit whose tree it brings.
const metaCarrier = "ostree-importd.carries"

// landRefs lands a commit under some refs.
func (p *Prepared) landRefs(ctx context.Context, st *ostreerepo.Staging, commit objects.Checksum, refs ...string) error {
	for _, ref := range refs {
		if err := st.SetRef(ref, commit); err != nil {
			return classify(StageLand, err)
		}
	}
	if err := st.Land(ctx); err != nil {
		return stopped(ctx, StageLand, classify(StageLand, err))
	}
	return nil
}

// closeBase removes what the base commit was read into.
func (f *fetcher) closeBase() {
	if f.base.st != nil {
		f.im.closeStaging(f.base.st)
		f.base.st = nil
	}
}
