//go:build system

package system

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// idleTimeout replaces the thirty seconds of the shipped unit.
const idleTimeout = 100 * time.Millisecond

// shortIdle makes the daemon leave after idleTimeout, and systemd start it as
// often as that takes, until the end of the test.
func shortIdle(t *testing.T) {
	t.Helper()
	dropIn(t, fmt.Sprintf("[Service]\nExecStart=\nExecStart=/usr/libexec/ostree-importd --idle-timeout=%s\n", idleTimeout))
}

func TestIdleExitAndReturn(t *testing.T) {
	shortIdle(t)
	pushed := newSite(t).push(t, "idle:1", noise("usr/lib/blob", 4096))
	client := newClient(t)
	gone := exits(t)

	var jobs []daemon.JobStatus
	for range 3 {
		job, err := imported(t.Context(), client, pushed.reference)
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
		fixture.Await(t, gone, "the exit of the idle daemon")
	}
	if jobs[0].ID >= jobs[1].ID || jobs[1].ID >= jobs[2].ID {
		t.Errorf("job ids of three daemons are %d, %d, %d: one was used again", jobs[0].ID, jobs[1].ID, jobs[2].ID)
	}
	// What a daemon did can be asked of the next one.
	first, err := client.Job(t.Context(), jobs[0].ID)
	if err != nil || first.Result != daemon.ResultDone {
		t.Errorf("job %d: result %q, %v", jobs[0].ID, first.Result, err)
	}
	fixture.Await(t, gone, "the exit of the idle daemon")
	if result := unitProperty(t, "Result"); result != "success" {
		t.Errorf("unit ended with %q", result)
	}
}

// Calls are aimed at the moment at which the daemon decides to leave. None may
// fail, whether it is answered by the daemon that leaves or by the next one.
func TestNoCallIsLostAtTheIdleDeadline(t *testing.T) {
	const rounds, callers = 150, 8
	shortIdle(t)
	pushed := newSite(t).push(t, "storm:1", noise("usr/lib/blob", 4096))
	if _, err := imported(t.Context(), newClient(t), pushed.reference); err != nil {
		t.Fatal(err)
	}
	gone := exits(t)

	var storm sync.WaitGroup
	rendezvous := newBarrier(callers)
	for caller := range callers {
		client := newClient(t)
		aim, scatter := rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(2, uint64(caller)))
		storm.Go(func() {
			for round := range rounds {
				rendezvous.wait()
				// All have their answers now, so the daemon's time runs. The callers aim
				// alike, for an early one would keep the daemon for the others.
				time.Sleep(idleTimeout + within(aim, -4*time.Millisecond, 12*time.Millisecond) + within(scatter, 0, time.Millisecond))
				var err error
				if caller == 0 {
					_, err = imported(t.Context(), client, pushed.reference)
				} else {
					_, err = client.Jobs(t.Context())
				}
				if err != nil {
					t.Errorf("caller %d, round %d: %v", caller, round, err)
				}
			}
		})
	}
	storm.Wait()
	t.Logf("%d calls, %d idle exits", rounds*callers, len(gone))
	// Otherwise the calls were not where they were aimed.
	if len(gone) < rounds/5 {
		t.Errorf("only %d idle exits in %d rounds", len(gone), rounds)
	}
}

// within is a random time from low up to high.
func within(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

// barrier lets a number of goroutines wait for each other again and again.
type barrier struct {
	mu      sync.Mutex
	size    int
	arrived int
	open    chan struct{}
}

func newBarrier(size int) *barrier {
	return &barrier{size: size, open: make(chan struct{})}
}

func (b *barrier) wait() {
	b.mu.Lock()
	b.arrived++
	open := b.open
	if b.arrived == b.size {
		b.arrived = 0
		b.open = make(chan struct{})
		close(open)
	}
	b.mu.Unlock()
	<-open
}
