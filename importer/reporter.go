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

// reporter keeps the counters of an import and samples them into Progress values, which one goroutine hands out.
type reporter struct {
	send   func(Progress)
	stages chan Stage
	stop   chan struct{}
	ended  chan struct{}

	mu      sync.Mutex
	current Progress // without what the running layers add
	running map[*runningLayer]bool
}

// runningLayer is a layer that is being fetched.
type runningLayer struct {
	index   int
	digest  digest.Digest
	size    uint64
	attempt atomic.Int64
	bytes   atomic.Uint64 // of this attempt
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

// replan takes the totals from the plan, which has changed or is new.
func (r *reporter) replan(plan *Plan) {
	distinct := map[digest.Digest]bool{}
	for _, l := range plan.Layers {
		distinct[l.Digest] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.LayersTotal = len(distinct)
	r.current.LayersCached = r.current.LayersTotal - plan.LayersToFetch
	r.current.BytesCached = plan.BytesTotal - plan.BytesToFetch
	r.current.BytesTotal = plan.BytesToFetch
}

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
			r.current.Stage = stage
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
	delete(r.running, l)
	if l.done {
		r.current.LayersDone++
		r.current.Bytes += l.size
	}
}

func (r *reporter) sample() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.current
	p.Running = make([]LayerProgress, 0, len(r.running))
	for l := range r.running {
		one := LayerProgress{Index: l.index, Digest: l.digest, Bytes: min(l.bytes.Load(), l.size), Size: l.size, Attempt: int(l.attempt.Load())}
		p.Bytes += one.Bytes
		p.Running = append(p.Running, one)
	}
	slices.SortFunc(p.Running, func(a, b LayerProgress) int { return cmp.Compare(a.Index, b.Index) })
	return p
}
