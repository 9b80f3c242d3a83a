package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// restoration brings back what is missing of the commits of an image: of its layers by reading
// their blobs once more, of its own by merging the layers once more. Whoever wrote the commits, an
// object that has the checksum of one that is missing is that one. No ref is changed that names a
// commit which can be completed.
type restoration struct {
	p       *Prepared
	image   *verified
	f       *fetcher
	fetched int
	// incomplete says which layers' commits could not be completed.
	incomplete []error
}

// restore brings back what makeRoom has put out of the way of an image, and what was missing
// before.
func (p *Prepared) restore(
	ctx context.Context, image *verified, res *VerifyResult, progress func(Progress),
) error {
	lock, err := p.im.lock(ctx, StageRepair, false, progress)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := p.assess(ctx); err != nil {
		return err
	}
	report := newReporter(&p.plan, progress)
	defer report.close()
	r := &restoration{p: p, image: image, f: &fetcher{im: p.im, plan: &p.plan, progress: report}}
	err = r.layers(ctx)
	res.LayersFetched += r.fetched
	res.BytesFetched += r.f.bytes.Load()
	if err != nil {
		return err
	}
	report.enter(StageMerge)
	if err := p.assess(ctx); err != nil {
		return err
	}
	return errors.Join(append(r.incomplete, r.merge(ctx))...)
}

// layers restores the layers: first those of the base commit, which decides how the others are
// read.
func (r *restoration) layers(ctx context.Context) error {
	if err := r.group(ctx, isBase); err != nil {
		return err
	}
	if err := r.p.assess(ctx); err != nil { // the base commit can be read by now
		return err
	}
	r.f.ground = r.p.ground
	r.f.as = r.readAs()
	return r.group(ctx, func(l LayerPlan) bool { return !isBase(l) })
}

// readAs tells how derived layers were read whose commits say so.
func (r *restoration) readAs() map[int]derivedAs {
	as := map[int]derivedAs{}
	for i := range r.p.plan.Layers {
		commit, err := r.commitOf(i)
		if err != nil {
			continue
		}
		c, err := r.p.im.repo.Commit(commit)
		if err != nil {
			continue
		}
		if rules, ok := c.Metadata[layertar.MetaRules].AsString(); ok {
			filtered, _ := c.Metadata[layertar.MetaFiltered].AsCounts()
			as[i] = derivedAs{layertar.ParseRules(rules), filtered[layertar.FilteredSpecial] > 0}
		}
	}
	return as
}

// commitOf gives the commit that the ref of a layer names.
func (r *restoration) commitOf(index int) (objects.Checksum, error) {
	return r.p.im.repo.Resolve(r.p.plan.Layers[index].Ref)
}

// group restores the layers that match: it fetches those that are damaged, and completes the
// commits of all with what they bring.
func (r *restoration) group(ctx context.Context, match func(LayerPlan) bool) error {
	all, damaged := r.split(match)
	if len(damaged) == 0 {
		return nil
	}
	st, err := r.p.im.repo.NewStaging()
	if err != nil {
		return classify(StageRepair, err)
	}
	defer r.p.im.closeStaging(st)
	r.f.into, r.f.restored = st, make([]objects.Checksum, len(r.p.plan.Layers))
	if err := r.fetch(ctx, damaged); err != nil {
		return err
	}
	rest := without(all, damaged)
	if isBase(r.p.plan.Layers[all[0]]) && len(rest) > 0 && r.lacksBase(ctx, st) {
		if err := r.fetch(ctx, rest); err != nil {
			return err
		}
	}
	crashpoint.Pass("repair read")
	return r.land(ctx, st, all)
}

// lacksBase tells whether the base commit lacks objects that the layers which seemed damaged have
// not brought: a chunk's commit may be that of another layer, and nobody knows then what it should
// hold.
func (r *restoration) lacksBase(ctx context.Context, st *ostreerepo.Staging) bool {
	if !r.p.plan.encapsulated() {
		return false
	}
	commit, err := r.commitOf(0)
	return err == nil && errors.Is(st.Complete(ctx, commit), ostreerepo.ErrNoObject)
}

// without gives the numbers that are not among others.
func without(numbers, others []int) []int {
	is := func(n int) bool { return slices.Contains(others, n) }
	return slices.DeleteFunc(slices.Clone(numbers), is)
}

// split lists the distinct layers that match, and those of them that are damaged.
func (r *restoration) split(match func(LayerPlan) bool) (all, damaged []int) {
	bad, seen := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for i := range r.image.bad {
		bad[r.p.plan.Layers[i].Digest] = true
	}
	for i, l := range r.p.plan.Layers {
		if !match(l) || seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		all = append(all, i)
		if bad[l.Digest] {
			damaged = append(damaged, i)
		}
	}
	return all, damaged
}

// fetch reads layers into the staging of their group.
func (r *restoration) fetch(ctx context.Context, layers []int) error {
	plan := &r.p.plan
	for i := range plan.Layers {
		plan.Layers[i].Cached = true
	}
	for _, i := range layers {
		plan.Layers[i].Cached = false
	}
	plan.count()
	r.f.progress.replan(plan)
	if err := r.p.startFetch(ctx, r.f); err != nil {
		return err
	}
	if err := r.f.run(ctx, layers); err != nil {
		return err
	}
	r.fetched += len(layers)
	return nil
}

// land lands the commits of layers that are complete now, and the layers whose commits are lost
// under their refs.
func (r *restoration) land(ctx context.Context, st *ostreerepo.Staging, layers []int) error {
	var commits []objects.Checksum
	refs := 0
	for _, i := range layers {
		commit, lost, err := r.settle(ctx, st, i)
		switch {
		case err != nil:
			return r.p.plan.layerError(classify(StageRepair, err), i+1)
		case lost:
			if err := st.SetRef(r.p.plan.Layers[i].Ref, r.f.restored[i]); err != nil {
				return classify(StageLand, err)
			}
			refs++
		case !commit.IsZero():
			commits = append(commits, commit)
		}
	}
	if len(commits)+refs == 0 {
		return nil
	}
	if err := st.Land(ctx, commits...); err != nil {
		return stopped(ctx, StageLand, classify(StageLand, err))
	}
	return nil
}

// settle gives the commit of a layer that was incomplete and is complete now, with what the staging
// has; zero for none. lost says that the layer's ref names no commit that could be completed, but
// that the layer was read.
func (r *restoration) settle(
	ctx context.Context, st *ostreerepo.Staging, index int,
) (commit objects.Checksum, lost bool, err error) {
	repo, read := r.p.im.repo, !r.f.restored[index].IsZero()
	commit, err = r.commitOf(index)
	if err != nil {
		return objects.Checksum{}, read, nil
	}
	if repo.Has(objects.KindCommit, commit) && !repo.IsPartial(commit) {
		held, err := stored.ReadLayerCommit(repo, commit)
		lost = read && err == nil && held.CheckKind(r.p.plan.Layers[index].Kind) != nil
		return objects.Checksum{}, lost, nil
	}
	err = st.Complete(ctx, commit)
	if !errors.Is(err, ostreerepo.ErrNoObject) {
		return commit, false, err
	}
	if _, missing := st.Commit(commit); errors.Is(missing, ostreerepo.ErrNoObject) {
		return objects.Checksum{}, read, nil
	}
	r.incomplete = append(r.incomplete, fmt.Errorf("layer %d does not bring all that its commit "+
		"lacks, which another program or an earlier version has made: %w", index+1, err))
	return objects.Checksum{}, false, nil
}

// merge restores the image's own commit, from the layers.
func (r *restoration) merge(ctx context.Context) error {
	im, commit := r.p.im, r.image.ref.Commit
	if !im.repo.IsPartial(commit) {
		return nil
	}
	st, err := im.repo.NewStaging()
	if err != nil {
		return classify(StageRepair, err)
	}
	defer im.closeStaging(st)
	err = st.Complete(ctx, commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		_, _, mergeErr := r.p.mergeCommit(ctx, st)
		if err = st.Complete(ctx, commit); errors.Is(err, ostreerepo.ErrNoObject) {
			err = fmt.Errorf("merging the layers does not bring all that the image's commit lacks: %w", err)
			err = errors.Join(err, mergeErr)
		}
	}
	if err != nil {
		return stopped(ctx, StageRepair, classify(StageRepair, err))
	}
	if err := st.Land(ctx, commit); err != nil {
		return stopped(ctx, StageLand, classify(StageLand, err))
	}
	return nil
}
