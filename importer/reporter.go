package importer

import (
	"cmp"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
)

// sampleInterval is the time between two samples of a running import.
const sampleInterval = 200 * time.Millisecond

// The parts of an import besides reading layers, as bytes of layers that take about as long to
// read. On a disk, all that follows takes as long as half of the reading; over a slow network it is
// less.
const (
	// stepWork is for anything that is done once, however small.
	stepWork = 1 << 20
	// landingPart of a layer's bytes is for its landing, of all fetched ones for that of the image.
	landingPart = 4
)

// landingWork is for the landing of so many bytes of layers.
func landingWork(size uint64) float64 { return stepWork + float64(size)/landingPart }

// reporter keeps the counters of an import and samples them into Progress values, which one
// goroutine hands out.
type reporter struct {
	send   func(Progress)
	stages chan Stage
	stop   chan struct{}
	ended  chan struct{}

	mu      sync.Mutex
	current Progress // without what the running layers add
	running map[*runningLayer]bool
	work    float64 // to do, as bytes
	done    float64 // of that, by layers and stages that are done
	merging float64 // what the merge is of work
}

// runningLayer is a layer that is being fetched.
type runningLayer struct {
	index   int
	digest  digest.Digest
	size    uint64
	attempt atomic.Int64
	bytes   atomic.Uint64 // of this attempt
	most    uint64        // bytes of the attempt that came furthest; under reporter.mu
	done    bool          // set by the fetching goroutine before end
}

// newReporter starts the reporting of a plan's import. send may be nil. close must be called.
func newReporter(plan *Plan, send func(Progress)) *reporter {
	r := &reporter{
		send: send, stages: make(chan Stage), stop: make(chan struct{}), ended: make(chan struct{}),
		running: map[*runningLayer]bool{},
	}
	r.current.Stage = StagePlan
	r.replan(plan)
	if send == nil {
		r.send = func(Progress) {}
	}
	go r.loop()
	return r
}

// Progress is what is known of an import before it begins.
func (plan *Plan) Progress() Progress {
	distinct := map[digest.Digest]bool{}
	for _, l := range plan.Layers {
		distinct[l.Digest] = true
	}
	return Progress{
		Stage: StagePlan, LayersTotal: len(distinct), LayersCached: len(distinct) - plan.LayersToFetch,
		BytesCached: plan.BytesTotal - plan.BytesToFetch, BytesTotal: plan.BytesToFetch,
	}
}

// replan takes the totals from the plan, which has changed or is new. Layers of which more turned
// out to be here are none that were fetched.
func (r *reporter) replan(plan *Plan) {
	known := plan.Progress()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.LayersTotal, r.current.LayersCached = known.LayersTotal, known.LayersCached
	r.current.BytesCached, r.current.BytesTotal = known.BytesCached, known.BytesTotal
	r.merging = stepWork * float64(known.LayersTotal)
	r.work = r.merging + landingWork(known.BytesTotal)
	for _, i := range plan.missing(func(LayerPlan) bool { return true }) {
		r.work += layerWork(plan.Layers[i].Size)
	}
}

// layerWork is for all that is done with a layer of so many bytes.
func layerWork(size uint64) float64 { return float64(size) + landingWork(size) }

func (r *reporter) loop() {
	defer close(r.ended)
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	var last Progress
	for {
		select {
		case <-ticker.C:
			if p := r.sample(); !reflect.DeepEqual(p, last) {
				last = p
				r.send(p)
			}
		case stage := <-r.stages:
			r.mu.Lock()
			r.begun(stage)
			r.mu.Unlock()
			last = r.sample()
			r.send(last)
			r.stages <- stage
		case <-r.stop:
			r.send(r.sample())
			return
		}
	}
}

// enter reports a new stage, and returns when that has been handed out.
func (r *reporter) enter(stage Stage) {
	r.stages <- stage
	<-r.stages
}

// leaveWait ends a StageWait.
func (r *reporter) leaveWait() {
	r.mu.Lock()
	waits := r.current.Stage == StageWait
	r.mu.Unlock()
	if waits {
		r.enter(StagePlan)
	}
}

// close hands out the last sample and ends the reporting.
func (r *reporter) close() {
	close(r.stop)
	<-r.ended
}

func (r *reporter) begin(index int, l LayerPlan) *runningLayer {
	running := &runningLayer{index: index, digest: l.Digest, size: l.Size}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[running] = true
	return running
}

// start begins an attempt; what the one before has read doesn't count any more.
func (l *runningLayer) start(attempt int) {
	l.attempt.Store(int64(attempt))
	l.bytes.Store(0)
}

func (r *reporter) end(l *runningLayer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.count()
	delete(r.running, l)
	if l.done {
		r.current.LayersDone++
		l.most = l.size
		r.done += landingWork(l.size)
	}
	r.current.Bytes += l.most
	r.done += float64(l.most)
}

// count takes note of what the running attempt has read. What an earlier one has read beyond that
// still counts, so that the progress doesn't go back.
func (l *runningLayer) count() { l.most = max(l.most, min(l.bytes.Load(), l.size)) }

// begun takes note of a stage that begins. r.mu is held.
func (r *reporter) begun(stage Stage) {
	if stage == StageLand {
		r.done += r.merging
	}
	r.current.Stage = stage
}

func (r *reporter) sample() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.current
	p.Running = make([]LayerProgress, 0, len(r.running))
	done := r.done
	for l := range r.running {
		l.count()
		p.Bytes += l.most
		done += float64(l.most)
		p.Running = append(p.Running, LayerProgress{Index: l.index, Digest: l.digest, Bytes: l.most, Size: l.size, Attempt: int(l.attempt.Load())})
	}
	p.Bytes = min(p.Bytes, p.BytesTotal) // a layer that was here already may have been fetched again
	p.Fraction = done / r.work
	if p.Stage == StageCollect {
		p.Fraction = 1
	}
	slices.SortFunc(p.Running, func(a, b LayerProgress) int { return cmp.Compare(a.Index, b.Index) })
	return p
}
