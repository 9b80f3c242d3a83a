package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestEqualRequestsShareAJob(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	first := f.startImport(t, "example.com/a")
	tests := []struct {
		name  string
		ask   func() (*Job, error)
		share bool
	}{
		{"equal", func() (*Job, error) { return f.Import(request("example.com/a"), JobOptions{}, Caller{UID: 7}) }, true},
		{"equal, empty list", func() (*Job, error) {
			req := request("example.com/a")
			req.Access.DecryptionKeys = []string{}
			return f.Import(req, JobOptions{}, Caller{})
		}, true},
		{"another option", func() (*Job, error) {
			req := request("example.com/a")
			req.DropSpecialFiles = true
			return f.Import(req, JobOptions{}, Caller{})
		}, false},
		{"another type", func() (*Job, error) { return f.Prepare(request("example.com/a"), JobOptions{}, Caller{}) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := started(t)(tt.ask())
			if shared := j.ID() == first.ID(); shared != tt.share {
				t.Errorf("job %d for the first's %d", j.ID(), first.ID())
			}
		})
	}
	held.release()
	finished(t, first, ResultDone)
	if again := f.startImport(t, "example.com/a"); again.ID() == first.ID() {
		t.Error("a finished job was shared")
	}
}

func TestSharedJobWaitsForAllReplies(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	events := subscribe(t, f.Manager)
	first, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	second := f.startImport(t, "example.com/a")
	if s := first.Status(); s.State != StateQueued || second.ID() != first.ID() {
		t.Errorf("started before the first caller's reply: %+v", s)
	}
	first.Start()
	finished(t, second, ResultDone)
	if e := <-events; e.Type != JobNew {
		t.Errorf("first event %+v", e)
	}
}

func TestTransactions(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	f.registry.add(t, "example.com/b", "b")
	ask := func(name, transaction string) (*Job, error) {
		return f.Import(request(name), JobOptions{TransactionID: transaction}, Caller{})
	}
	held := f.registry.block(t, "open example.com/a")
	first := started(t)(ask("example.com/a", "t1"))
	alias := started(t)(ask("example.com/a", "t2"))
	if alias.ID() != first.ID() {
		t.Fatalf("jobs %d and %d", first.ID(), alias.ID())
	}
	held.release()
	finished(t, first, ResultDone)
	for _, transaction := range []string{"t1", "t2"} {
		t.Run("finished "+transaction, func(t *testing.T) {
			if j := started(t)(ask("example.com/a", transaction)); j.ID() != first.ID() {
				t.Errorf("job %d", j.ID())
			}
		})
	}
	t.Run("another request", func(t *testing.T) {
		_, err := ask("example.com/b", "t1")
		wantKind(t, err, importer.KindInvalidOption)
		if err == nil || !strings.Contains(err.Error(), `"t1" belongs to job 1`) {
			t.Errorf("message %q", err)
		}
	})
	t.Run("another id", func(t *testing.T) {
		if j := started(t)(ask("example.com/a", "t3")); j.ID() == first.ID() {
			t.Error("a finished job was shared")
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		f.shutdown(t, f.Manager)
		f.start(t)
		if j := started(t)(ask("example.com/a", "t2")); j.ID() != first.ID() || j.Status().TransactionID != "t1" {
			t.Errorf("job %+v", j.Status())
		}
	})
}

func TestNoQueue(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"example.com/a", "example.com/b", "example.com/c"} {
		f.registry.add(t, name, name)
	}
	ask := func(name string) (*Job, error) {
		return f.Import(request(name), JobOptions{NoQueue: true}, Caller{})
	}
	held := f.registry.block(t, "open example.com/a")
	a := started(t)(ask("example.com/a"))
	b := f.startImport(t, "example.com/b")
	tests := []struct {
		name, image string
		busy        bool
	}{
		{"a new job", "example.com/c", true},
		{"an equal one that waits", "example.com/b", true},
		{"an equal one that runs", "example.com/a", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ask(tt.image)
			if !tt.busy {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, importer.KindBusy)
			if err == nil || !strings.Contains(err.Error(), "job 1 (import of docker://example.com/a) is running") {
				t.Errorf("message %q", err)
			}
		})
	}
	t.Run("another type", func(t *testing.T) {
		finished(t, started(t)(f.Prepare(request("example.com/c"), JobOptions{NoQueue: true}, Caller{})), ResultDone)
	})
	held.release()
	finished(t, a, ResultDone)
	finished(t, b, ResultDone)
}

func TestNoQueueBesideUnstartedJobs(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/b", "b")
	held := f.registry.block(t, "open example.com/b")
	noQueue := JobOptions{NoQueue: true}
	a, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if same, err := f.Import(request("example.com/a"), noQueue, Caller{}); err != nil || same.ID() != a.ID() {
		t.Errorf("a job that nothing is ahead of: %v", err)
	}
	b := f.startImport(t, "example.com/b")
	<-held.reached
	if same, err := f.Import(request("example.com/b"), noQueue, Caller{}); err != nil || same.ID() != b.ID() {
		t.Errorf("a job that runs: %v", err)
	}
	held.release()
	finished(t, b, ResultDone)
}

func TestTooManyJobs(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxJobs = 2 })
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	b := f.startImport(t, "example.com/b")
	_, err := f.Import(request("example.com/c"), JobOptions{}, Caller{})
	wantKind(t, err, importer.KindTooManyJobs)
	if shared := f.startImport(t, "example.com/b"); shared.ID() != b.ID() {
		t.Errorf("job %d", shared.ID())
	}
	held.release()
	finished(t, a, ResultDone)
	finished(t, b, ResultFailed)
	finished(t, f.startImport(t, "example.com/c"), ResultFailed)
}

func TestManyCallers(t *testing.T) {
	f := newFixture(t)
	const callers, images = 50, 4
	held := f.registry.block(t, "open example.com/0")
	for i := range images {
		f.registry.add(t, fmt.Sprintf("example.com/%d", i), fmt.Sprint("content ", i))
	}
	started(t)(f.Import(request("example.com/0"), JobOptions{}, Caller{}))
	<-held.reached

	asked := make(chan struct{}, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			j, err := f.Import(request(fmt.Sprintf("example.com/%d", i%images)), JobOptions{}, Caller{UID: uint32(i)})
			if err != nil {
				t.Error(err)
				asked <- struct{}{}
				return
			}
			j.Start()
			asked <- struct{}{}
			f.Jobs()
			if s, err := j.Wait(t.Context()); err != nil || s.Result != ResultDone {
				t.Errorf("job %d is %q: %s, %v", s.ID, s.Result, s.ErrorMessage, err)
			}
		})
	}
	for range callers {
		<-asked
	}
	held.release()
	all.Wait()
	jobs := f.Jobs()
	if len(jobs) != images {
		t.Errorf("%d jobs for %d images", len(jobs), images)
	}
	for i := range images {
		if n := f.registry.counted(fmt.Sprintf("open example.com/%d", i)); n != 1 {
			t.Errorf("image %d was opened %d times", i, n)
		}
	}
	if !slices.IsSortedFunc(jobs, func(a, b JobStatus) int { return int(a.ID) - int(b.ID) }) {
		t.Error("jobs are not sorted")
	}
}

// TestEachUserCancelsForThemselves: a job goes on for those who still want it.
func TestEachUserCancelsForThemselves(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	f.registry.block(t, "open example.com/a")
	ask := func(uid uint32) *Job {
		return started(t)(f.Import(request("example.com/a"), JobOptions{}, Caller{UID: uid}))
	}
	j := ask(7)
	ask(7)
	ask(0)
	withdraw := func(uid uint32, want bool) {
		t.Helper()
		if asked, err := j.Withdraw(uid); asked != want || err != nil {
			t.Errorf("user %d: %v, %v", uid, asked, err)
		}
	}
	withdraw(8, false)
	withdraw(7, true)
	withdraw(7, false)
	if s := j.Status(); !s.Cancellable {
		t.Errorf("root still wants the job, which is %s", s.State)
	}
	ask(7)
	withdraw(0, true)
	withdraw(7, true)
	finished(t, j, ResultCanceled)
	if asked, err := j.Withdraw(7); !asked || importer.KindOf(err) != importer.KindNotCancellable {
		t.Errorf("after the end: %v, %v", asked, err)
	}
}

// TestTransactionsOfUsers: an id means nothing to another user, also after a restart.
func TestTransactionsOfUsers(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	ask := func(name string, uid uint32) *Job {
		options := JobOptions{TransactionID: "t"}
		return started(t)(f.Import(request(name), options, Caller{UID: uid}))
	}
	held := f.registry.block(t, "open example.com/a")
	first := ask("example.com/a", 7)
	if joined := ask("example.com/a", 8); joined.ID() != first.ID() {
		t.Errorf("job %d", joined.ID())
	}
	other := ask("example.com/none", 9)
	held.release()
	finished(t, first, ResultDone)
	finished(t, other, ResultFailed)
	f.shutdown(t, f.Manager)
	f.start(t)
	for uid, want := range map[uint32]uint64{7: first.ID(), 8: first.ID()} {
		if j := ask("example.com/a", uid); j.ID() != want {
			t.Errorf("user %d gets job %d", uid, j.ID())
		}
	}
	if j := ask("example.com/none", 9); j.ID() != other.ID() {
		t.Errorf("user 9 gets job %d", j.ID())
	}
}

// TestJobsAreSharedFairly: one user leaves half of them to others.
func TestJobsAreSharedFairly(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxJobs = 4 })
	f.registry.block(t, "open example.com/0")
	ask := func(uid uint32, n int) error {
		j, err := f.Import(request(fmt.Sprintf("example.com/%d", n)), JobOptions{}, Caller{UID: uid})
		if err == nil {
			j.Start()
		}
		return err
	}
	// What does not run is not started, so that nothing ends meanwhile.
	unstarted := func(uid uint32, n int) error {
		_, err := f.Import(request(fmt.Sprintf("example.com/%d", n)), JobOptions{}, Caller{UID: uid})
		return err
	}
	if err := errors.Join(ask(7, 0), unstarted(7, 1), unstarted(7, 0)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, unstarted(7, 2), importer.KindTooManyJobs)
	if err := errors.Join(unstarted(0, 2), unstarted(8, 3)); err != nil {
		t.Error(err)
	}
	wantKind(t, unstarted(0, 4), importer.KindTooManyJobs)
}
