package importer

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/merge"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Import fetches the missing layers, merges all and records the image. What is missing is found anew, so a layer that has
// come or gone since the plan was made is no trouble.
//
// progress may be nil. It is called by one goroutine, at most five times a second plus once for each stage that begins and
// once at the end, and must not block; Import returns after the last call. When it has been called with StageLand the
// image ref is about to be written.
func (p *Prepared) Import(ctx context.Context, progress func(Progress)) (*Result, error) {
	if err := p.im.assess(&p.plan); err != nil {
		return nil, stopped(ctx, StagePlan, err)
	}
	r := newReporter(&p.plan, progress)
	defer r.close()
	if p.plan.AlreadyPresent {
		return p.result(true, 0)
	}
	// The repository may have changed since Prepare.
	if err := p.im.checkRef(p.plan.ImageRef); err != nil {
		return nil, err
	}
	fetched, err := p.fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	if !p.plan.Request.NoRef {
		if err := p.merge(ctx, r); err != nil {
			return nil, stopped(ctx, StageMerge, err)
		}
	}
	return p.result(false, fetched)
}

// fetch fetches what is missing and gives the number of bytes that it took.
func (p *Prepared) fetch(ctx context.Context, r *reporter) (uint64, error) {
	if p.plan.LayersToFetch == 0 {
		return 0, nil
	}
	r.enter(StageFetch)
	if err := p.reopen(ctx); err != nil {
		return 0, stopped(ctx, StageOpen, err)
	}
	f := &fetcher{im: p.im, plan: &p.plan, source: p.source, progress: r}
	if err := f.run(ctx); err != nil {
		return 0, err
	}
	return f.bytes.Load(), nil
}

// reopen opens the source of a plan that has none yet, and makes sure that it is still the planned image.
func (p *Prepared) reopen(ctx context.Context) error {
	if p.source != nil {
		return nil
	}
	n, err := p.im.resolve(p.plan.Request)
	if err != nil {
		return err
	}
	source, err := p.im.openSource(ctx, n.source.Image.Pinned(p.plan.ManifestDigest), p.plan.Request.Access)
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

// merge writes and lands the image's commit.
func (p *Prepared) merge(ctx context.Context, r *reporter) error {
	r.enter(StageMerge)
	layers := make([]objects.Checksum, len(p.plan.Layers))
	for i, l := range p.plan.Layers {
		stored, err := p.im.readLayer(l.Digest)
		if err != nil {
			return p.plan.layerError(classify(StageMerge, err), i+1)
		}
		layers[i] = stored.commit
	}
	st, err := p.im.repo.NewStaging()
	if err != nil {
		return classify(StageMerge, err)
	}
	defer p.im.closeStaging(st)
	tree, err := merge.Merge(ctx, st, nil, layers, merge.Options{Rules: p.im.rules, Repo: p.im.repo})
	if err != nil {
		e := classify(StageMerge, err)
		return p.plan.layerError(e, e.LayerIndex)
	}
	metadata, err := p.plan.metadata()
	if err != nil {
		return err
	}
	commit, err := st.WriteCommit(objects.Commit{Metadata: metadata, Timestamp: p.plan.timestamp(), Tree: tree.Tree, Meta: tree.Meta})
	if err != nil {
		return classify(StageMerge, err)
	}
	if err := st.SetRef(p.plan.ImageRef, commit); err != nil {
		return classify(StageLand, err)
	}
	r.enter(StageLand)
	if err := st.Land(ctx); err != nil {
		return classify(StageLand, err)
	}
	p.plan.Commit = commit.String()
	return nil
}

// metadata gives the merge commit's metadata. Manifest and config are in canonical JSON (RFC 8785), so that two imports of
// one image agree whatever formatting their sources chose.
func (plan *Plan) metadata() (objects.Dict, error) {
	manifest, err := canonical(plan.Manifest)
	if err != nil {
		return nil, &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: fmt.Errorf("the manifest has no canonical JSON form: %w", err)}
	}
	config, err := canonical(plan.Config)
	if err != nil {
		return nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: fmt.Errorf("the config has no canonical JSON form: %w", err)}
	}
	return objects.Dict{
		metaConfig:            objects.String(config),
		layertar.MetaImporter: objects.String(layertar.Importer),
		metaManifest:          objects.String(manifest),
		metaManifestDigest:    objects.String(plan.ManifestDigest.String()),
	}, nil
}

func canonical(raw []byte) (string, error) {
	if !utf8.Valid(raw) { // which a commit's metadata can't hold
		return "", errors.New("it is not UTF-8")
	}
	out, err := jcs.Transform(raw)
	return string(out), err
}

// timestamp is the image's creation time in seconds, and 0 where it says none: the time of the import would make every
// import another commit.
func (plan *Plan) timestamp() uint64 {
	return uint64(max(0, plan.Created.Unix()))
}

// result tells what the repository holds after the import.
func (p *Prepared) result(present bool, fetched uint64) (*Result, error) {
	plan := &p.plan
	res := &Result{
		Reference: plan.Reference, ImageRef: plan.ImageRef, ManifestDigest: plan.ManifestDigest, ConfigDigest: plan.ConfigDigest,
		Commit: plan.Commit, AlreadyPresent: present, Layers: make([]LayerResult, len(plan.Layers)),
		Filtered: map[digest.Digest]map[string]uint32{}, BytesFetched: fetched,
	}
	for i, l := range plan.Layers {
		stored, err := p.im.readLayer(l.Digest)
		if err != nil {
			return nil, p.plan.layerError(classify(StageInventory, err), i+1)
		}
		if len(stored.filtered) > 0 {
			res.Filtered[l.Digest] = stored.filtered
		}
		res.Layers[i] = LayerResult{
			Digest: l.Digest, DiffID: l.DiffID, Size: l.Size, Ref: l.Ref, Commit: stored.commit.String(), Kind: l.Kind,
			Cached: l.Cached || present,
		}
	}
	return res, nil
}

// closeStaging removes a staging repository. If that fails the next import removes it.
func (im *Importer) closeStaging(st *ostreerepo.Staging) {
	if err := st.Close(); err != nil {
		im.log.WithError(err).Warn("removing a staging repository")
	}
}
