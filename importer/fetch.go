package importer

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
)

const (
	// maxAttempts bounds how often a layer is fetched when what failed may pass: a network, a busy registry.
	maxAttempts = 5
	// maxDamaged bounds it when what came was wrong: it may have been damaged on its way once.
	maxDamaged = 2

	firstDelay = 500 * time.Millisecond
	maxDelay   = 15 * time.Second
)

// fetcher fetches the missing layers of a plan.
type fetcher struct {
	im       *Importer
	plan     *Plan
	source   Source
	progress *reporter
	bytes    atomic.Uint64 // read from the source, all attempts together
}

// run fetches all missing layers, the largest first, several at once. Each one lands by itself. The first failure cancels
// the others and is the one returned.
func (f *fetcher) run(ctx context.Context) error {
	jobs := f.plan.Request.Jobs
	if jobs == 0 {
		jobs = f.im.jobs
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for _, i := range f.missing() {
		group.Go(func() error { return f.layer(groupCtx, i) })
	}
	return stopped(ctx, StageFetch, group.Wait())
}

// missing gives the indices of the distinct layers to fetch, largest first.
func (f *fetcher) missing() []int {
	var missing []int
	seen := map[digest.Digest]bool{}
	for i, l := range f.plan.Layers {
		if !l.Cached && !seen[l.Digest] {
			missing = append(missing, i)
		}
		seen[l.Digest] = true
	}
	slices.SortStableFunc(missing, func(a, b int) int {
		switch sa, sb := f.plan.Layers[a].Size, f.plan.Layers[b].Size; {
		case sa > sb:
			return -1
		case sa < sb:
			return 1
		}
		return 0
	})
	return missing
}

// layer fetches one layer, with new attempts as far as the failure allows them.
func (f *fetcher) layer(ctx context.Context, index int) error {
	l := f.plan.Layers[index]
	running := f.progress.begin(index+1, l)
	defer f.progress.end(running)
	for attempt := 1; ; attempt++ {
		running.start(attempt)
		err := f.attempt(ctx, l, running)
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

// attempt fetches a layer once, into a staging repository of its own, and lands it.
func (f *fetcher) attempt(ctx context.Context, l LayerPlan, running *runningLayer) error {
	st, err := f.im.repo.NewStaging()
	if err != nil {
		return classify(StageLayer, err)
	}
	defer f.im.closeStaging(st)
	descriptor := ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: int64(l.Size)}
	blob, err := f.source.Blob(ctx, descriptor)
	if err != nil {
		return gone(classify(StageFetch, err))
	}
	defer blob.Close() // all that it can tell was told by Read
	counted := &countingReader{Closer: blob, r: blob, layer: running, total: &f.bytes}
	commit, _, err := layertar.Import(ctx, st, counted,
		layertar.Layer{Descriptor: descriptor, DiffID: l.DiffID},
		layertar.Options{Rules: f.im.rules, DropSpecialFiles: f.plan.Request.DropSpecialFiles})
	if err != nil {
		return gone(classifyLayer(err))
	}
	if err := st.SetRef(l.Ref, commit); err != nil {
		return classify(StageLand, err)
	}
	if err := st.Land(ctx); err != nil {
		return classify(StageLand, err)
	}
	return nil
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
	case e.Retryable:
		return maxAttempts
	}
	return 1
}

// backOff doubles with each attempt; half of it is random, so that many hosts don't come back at once.
func backOff(attempt int) time.Duration {
	delay := min(firstDelay<<(attempt-1), maxDelay)
	return delay/2 + rand.N(delay/2)
}

// countingReader counts what is read of a blob. Closing it closes the blob, which ends a Read that waits.
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
