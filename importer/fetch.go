package importer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// maxAttempts bounds how often a layer is fetched when what failed may pass: a network, a busy
	// registry.
	maxAttempts = 5
	// maxDamaged bounds it when what came was wrong: it may have been damaged on its way once.
	maxDamaged = 2
	// maxStalled bounds it when nothing came, or too little, for the time that this may take.
	maxStalled = 3

	firstDelay = 500 * time.Millisecond
	maxDelay   = 15 * time.Second

	// layerMemory is the memory, in bytes, that a layer begins with: its buffers, and a window and
	// a tree as most layers have them. What needs more takes more.
	layerMemory = 16 << 20
)

// fetcher fetches layers of a plan.
type fetcher struct {
	im       *Importer
	plan     *Plan
	source   Source
	progress *reporter
	ground   ground // of derived layers
	layers   sourceLayers
	bytes    atomic.Uint64 // read from the source, all attempts together
	holes    layertar.Holes

	// verify is called with the base commit's object and its detached metadata, before anything of
	// its layer is written.
	verify func(ctx context.Context, commit, detached []byte) error
	// trusted is set where what verify accepts may replace detached metadata of a commit that is
	// here.
	trusted bool
	// into, when not nil, is where layers are read into, instead of landing each by itself.
	into *ostreerepo.Staging

	// restored, when not nil, takes the commits of what was read, by layer. as says for derived
	// layers how they are read, where not by the ground.
	restored []objects.Checksum
	as       map[int]derivedAs

	// chunks lands the chunks of a base commit. doubtful are those of them whose commits were there
	// before, so that nothing of them may have come along.
	chunks   *lander
	doubtful []int

	// base holds the commit layer when that was read: its commit may land only when it is complete.
	base stagedCommit
}

// stagedCommit is a commit that waits in a staging.
type stagedCommit struct {
	st     *ostreerepo.Staging // nil: none
	commit objects.Checksum
}

// run fetches layers, by their indices, several at once. The first failure cancels the others and
// is the one returned.
func (f *fetcher) run(ctx context.Context, layers []int) error {
	jobs := f.plan.Request.Jobs
	if jobs == 0 {
		jobs = f.im.jobs
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for _, i := range layers {
		group.Go(func() error { return f.layer(groupCtx, i) })
	}
	return stopped(ctx, StageFetch, group.Wait())
}

// missing gives the indices of the distinct layers to fetch among those that match, largest first.
func (plan *Plan) missing(match func(LayerPlan) bool) []int {
	var missing []int
	seen := map[digest.Digest]bool{}
	for i, l := range plan.Layers {
		if !l.Cached && !seen[l.Digest] && match(l) {
			missing = append(missing, i)
		}
		seen[l.Digest] = true
	}
	slices.SortStableFunc(missing, func(a, b int) int { return cmp.Compare(plan.Layers[b].Size, plan.Layers[a].Size) })
	return missing
}

// layer fetches one layer, with new attempts as far as the failure allows them.
func (f *fetcher) layer(ctx context.Context, index int) error {
	l := f.plan.Layers[index]
	running := f.progress.begin(index+1, l)
	defer f.progress.end(running)
	if f.landedMeanwhile(index) {
		running.done = true
		return nil
	}
	for attempt := 1; ; attempt++ {
		err := f.im.memory.Run(ctx, layerMemory, func(memory *budget.Share) error {
			running.start(attempt)
			return f.attempt(ctx, index, running, memory)
		})
		if err == nil {
			running.done = true
			return nil
		}
		e := f.plan.layerError(classify(StageLayer, err), index+1)
		if ctx.Err() != nil || attempt >= attemptsFor(e) {
			return e
		}
		delay := backOff(attempt)
		f.im.log.WithError(e).Warnf("fetching a layer failed, trying again in %v (attempt %d of %d)", delay.Round(time.Millisecond), attempt+1, attemptsFor(e))
		select {
		case <-ctx.Done():
			return e
		case <-time.After(delay):
		}
	}
}

// landedMeanwhile tells whether another import has landed a derived layer since this one began. Two
// that fetch it at the same time land the same commit, one after the other.
func (f *fetcher) landedMeanwhile(index int) bool {
	l := f.plan.Layers[index]
	if l.Kind != document.KindDerived {
		return false
	}
	held, err := f.im.held(l.Digest)
	if err != nil || held.Commit.IsZero() || held.Kind != l.Kind || !f.ground.fits(held, l.DiffID, f.plan.Request.DropSpecialFiles) {
		return false
	}
	f.plan.landed(l.Digest, held.Commit)
	return true
}

// attempt fetches a layer once, into a staging repository of its own unless there is one for
// several, and lands it unless that is done later.
func (f *fetcher) attempt(ctx context.Context, index int, running *runningLayer, memory *budget.Share) error {
	l := f.plan.Layers[index]
	if st := f.shared(l.Kind); st != nil {
		commit, err := f.read(ctx, st, index, running, memory)
		switch {
		case err != nil:
			return err
		case f.restored != nil:
			f.restored[index] = commit
		case l.Kind == document.KindCommit:
			f.base = stagedCommit{st, commit}
		case f.into == nil:
			f.chunks.add(landing{index, l.Ref, commit})
		}
		return nil
	}
	st, err := f.im.repo.NewStaging()
	if err != nil {
		return classify(StageLayer, err)
	}
	commit, err := f.read(ctx, st, index, running, memory)
	if err == nil && l.Kind == document.KindCommit {
		f.base = stagedCommit{st, commit}
		return nil
	}
	defer f.im.closeStaging(st)
	if err != nil {
		return err
	}
	crashpoint.Pass("fetch read")
	if err := st.SetRef(l.Ref, commit); err != nil {
		return classify(StageLand, err)
	}
	if err := st.Land(ctx); err != nil {
		return classify(StageLand, err)
	}
	crashpoint.Pass("fetch landed")
	f.plan.landed(l.Digest, commit)
	return nil
}

// shared gives the staging that layers of this kind are read into together, nil if each has its
// own. What a failed attempt leaves there does no harm: every object is what its name says, and
// whether any is missing is found out in the end.
func (f *fetcher) shared(kind string) *ostreerepo.Staging {
	if f.into == nil && kind == document.KindChunk {
		return f.chunks.st
	}
	return f.into
}

// landed notes the commit of a layer. Each layer is written to by one goroutine only.
func (plan *Plan) landed(d digest.Digest, commit objects.Checksum) {
	for i := range plan.Layers {
		if plan.Layers[i].Digest == d {
			plan.Layers[i].Commit = commit.String()
		}
	}
}

// read reads a layer's blob into st and gives its commit.
func (f *fetcher) read(
	ctx context.Context, st *ostreerepo.Staging, index int, running *runningLayer, memory *budget.Share,
) (objects.Checksum, error) {
	l := f.plan.Layers[index]
	layer, err := f.layers.layer(ctx, f.source, index, l)
	if err != nil {
		return objects.Checksum{}, gone(classify(StageFetch, err))
	}
	content, err := f.source.Blob(ctx, layer.Descriptor)
	if err != nil {
		return objects.Checksum{}, gone(classify(StageFetch, err))
	}
	crashpoint.Pass("fetch opened")
	defer content.Close() // all that it can tell was told by Read
	counted := &countingReader{Closer: content, r: content, layer: running, total: &f.bytes}
	var commit objects.Checksum
	switch l.Kind {
	case document.KindCommit:
		commit, err = f.readCommit(ctx, st, counted, layer, memory)
	case document.KindChunk:
		commit, _, err = ostreetar.ReadChunk(ctx, st, counted, layer, ostreetar.Options{Memory: memory})
	default:
		commit, err = f.readDerived(ctx, st, counted, layer, f.derivedAs(index), memory)
	}
	if err != nil {
		return objects.Checksum{}, gone(classifyLayer(err))
	}
	return commit, nil
}

// readCommit reads the layer of the base commit. A commit that looks like the commit of a layer is
// refused: later it would be taken for one.
func (f *fetcher) readCommit(
	ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer blob.Layer, memory *budget.Share,
) (objects.Checksum, error) {
	opts := ostreetar.Options{Memory: memory, KeepDetached: !f.trusted, Verify: func(ctx context.Context, commit, detached []byte) error {
		if err := f.plan.checkLabel(objects.ChecksumOf(commit)); err != nil || f.verify == nil {
			return err
		}
		return f.verify(ctx, commit, detached)
	}}
	read, _, err := ostreetar.ReadCommit(ctx, st, r, layer, opts)
	if err != nil {
		return objects.Checksum{}, err
	}
	c, err := st.Commit(read.Checksum)
	if err != nil {
		return objects.Checksum{}, err
	}
	kind, err := stored.KindOf(st, c)
	if err == nil && kind != document.KindCommit {
		err = &Error{
			Kind: KindUnsupportedImage,
			Err:  fmt.Errorf("the encapsulated commit %s is not that of a system, but looks like one by which importers store a layer", read.Checksum),
		}
	}
	return read.Checksum, err
}

// derivedAs is how a derived layer is read.
type derivedAs struct {
	rules       layertar.Rules
	dropSpecial bool
}

func (f *fetcher) derivedAs(index int) derivedAs {
	if as, ok := f.as[index]; ok {
		return as
	}
	return derivedAs{f.ground.rules, f.plan.Request.DropSpecialFiles}
}

func (f *fetcher) readDerived(
	ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer blob.Layer, as derivedAs, memory *budget.Share,
) (objects.Checksum, error) {
	opts := layertar.Options{Rules: as.rules, DropSpecialFiles: as.dropSpecial, Memory: memory, Holes: &f.holes}
	policy := f.ground.policy()
	if policy != nil { // a nil policy would not be a nil interface
		opts.Labels = policy
	}
	commit, _, err := layertar.Import(ctx, st, r, layer, opts)
	if err == nil {
		err = policy.Err()
	}
	return commit, err
}

// classifyLayer finds the stage that a failed import of a layer's stream is about.
func classifyLayer(err error) *Error {
	e := classify(StageLayer, err)
	if e.Stage == StageLayer && e.Kind == KindDigestMismatch {
		e.Stage = StageVerify
	}
	return e
}

// gone renames a blob that isn't found: the image was there, so it has been removed since.
func gone(e *Error) *Error {
	if e.Kind == KindReferenceNotFound {
		e.Kind, e.Retryable = KindManifestGone, false
		e.Hint = "the image was removed or replaced at its origin: import it anew"
	}
	return e
}

// attemptsFor is the number of attempts that a failure allows.
func attemptsFor(e *Error) int {
	switch {
	case e.Kind == KindDigestMismatch:
		return maxDamaged
	case e.Kind == KindTimeout && e.Retryable:
		return maxStalled
	case e.Retryable:
		return maxAttempts
	}
	return 1
}

// backOff doubles with each attempt; half of it is random, so that many hosts don't come back at
// once.
func backOff(attempt int) time.Duration {
	delay := min(firstDelay<<(attempt-1), maxDelay)
	return delay/2 + rand.N(delay/2)
}

// countingReader counts what is read of a blob. Closing it closes the blob, which ends a Read that
// waits.
type countingReader struct {
	io.Closer
	r     io.Reader
	layer *runningLayer
	total *atomic.Uint64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.layer.bytes.Add(uint64(n))
	c.total.Add(uint64(n))
	return n, err
}
