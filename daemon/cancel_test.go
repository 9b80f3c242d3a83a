package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

func TestCancelRunning(t *testing.T) {
	for _, point := range []string{"open", "blob"} {
		t.Run(point, func(t *testing.T) {
			f := newFixture(t)
			events := subscribe(t, f.Manager)
			f.registry.add(t, "example.com/a", "a")
			held := f.registry.block(t, point+" example.com/a")
			a := f.startImport(t, "example.com/a")
			<-held.reached
			if err := f.Cancel(a.ID()); err != nil {
				t.Fatal(err)
			}
			if err := a.Cancel(); err != nil && a.Status().State != StateFinished {
				t.Errorf("second Cancel: %v", err)
			}
			status := finished(t, a, ResultCanceled)
			if status.ErrorKind != importer.KindCanceled || status.StatusText != "canceled" {
				t.Errorf("status %+v", status)
			}
			await(t, events, func(e Event) bool { return e.Type == JobChanged && e.Job.State == StateCanceling && !e.Job.Cancellable })
			if last, _ := await(t, events, func(e Event) bool { return e.Type == JobFinished }); last.Job.Result != ResultCanceled {
				t.Errorf("event %+v", last)
			}
			wantKind(t, a.Cancel(), importer.KindNotCancellable)
		})
	}
}

func TestCancelQueued(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	b := f.startImport(t, "example.com/b")
	if err := b.Cancel(); err != nil {
		t.Fatal(err)
	}
	if s := b.Status(); s.State != StateFinished || s.Result != ResultCanceled || !s.Started.IsZero() {
		t.Errorf("status %+v", s)
	}
	held.release()
	finished(t, a, ResultDone)
	if n := f.registry.counted("open example.com/b"); n != 0 {
		t.Errorf("the canceled job opened its image %d times", n)
	}
}

func TestCancelBeforeStart(t *testing.T) {
	f := newFixture(t)
	events := subscribe(t, f.Manager)
	a, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Cancel(); err != nil {
		t.Fatal(err)
	}
	finished(t, a, ResultCanceled)
	f.Ping()
	a.Start()
	for _, want := range []EventType{JobNew, JobFinished} {
		if e := <-events; e.Type != want || e.Job.ID != a.ID() {
			t.Errorf("event %+v, want %s", e, want)
		}
	}
}

func TestCanceledJobIsNotShared(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	// The job can't end while its progress is being taken note of: it is caught while canceling.
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	f.mu.Lock()
	f.stop(a.job, importer.KindCanceled)
	same := f.sameWork(a.job.work)
	f.mu.Unlock()
	if same != nil {
		t.Errorf("job %d is shared while canceling", same.id)
	}
	held.release()
	finished(t, a, ResultCanceled)
}

// landing gives a job that is writing its image, held up in that by an ostree command that waits
// until finish is called.
func landing(t *testing.T) (f *fixture, j *Job, finish func()) {
	t.Helper()
	dir := t.TempDir()
	gate, command := filepath.Join(dir, "gate"), filepath.Join(dir, "ostree")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *pull-local*) [ ! -p %[1]s ] || read -r _ < %[1]s ;; esac\nexec ostree \"$@\"\n", gate)
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	f = newFixtureWith(t, ostreerepo.Options{Command: command})
	f.registry.add(t, "example.com/a", "a")
	// With the layer there, the only thing that is left to land is the image.
	layersOnly := request("example.com/a")
	layersOnly.NoRef = true
	finished(t, started(t)(f.Import(layersOnly, JobOptions{}, Caller{})), ResultDone)

	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	j = f.startImport(t, "example.com/a")
	// Opening waits for the command to read.
	pipe, err := os.OpenFile(gate, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	finish = sync.OnceFunc(func() { _ = pipe.Close() })
	t.Cleanup(finish)
	return f, j, finish
}

func TestCancelWhileLanding(t *testing.T) {
	_, j, finish := landing(t)
	if s := j.Status(); s.Cancellable || s.State != StateRunning {
		t.Errorf("status %+v", s)
	}
	err := j.Cancel()
	wantKind(t, err, importer.KindNotCancellable)
	if err == nil || !strings.Contains(err.Error(), "is writing the image") {
		t.Errorf("message %q", err)
	}
	finish()
	finished(t, j, ResultDone)
}

func TestCancelThatComesTooLate(t *testing.T) {
	f := newFixture(t)
	j := &job{id: 1, done: make(chan struct{}), status: JobStatus{ID: 1, State: StateRunning, Cancellable: true}}
	var told bool
	j.cancel = func() { told = true }
	f.jobs[1], f.active = j, []*job{j}
	handle := &Job{m: f.Manager, job: j}
	if err := handle.Cancel(); err != nil || !told {
		t.Fatalf("Cancel: %v, told %t", err, told)
	}
	f.mu.Lock()
	f.finish(j, outcome{result: &importer.Result{}}, nil)
	f.mu.Unlock()
	if s := finished(t, handle, ResultDone); s.ErrorMessage != "" {
		t.Errorf("status %+v", s)
	}
}

func TestCancelUnknown(t *testing.T) {
	f := newFixture(t)
	wantKind(t, f.Cancel(7), importer.KindNoSuchJob)
}

func TestShutdown(t *testing.T) {
	f := newFixture(t)
	events := subscribe(t, f.Manager)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	<-held.reached
	b := f.startImport(t, "example.com/b")
	c, err := f.Import(request("example.com/c"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*Job{a, b, c} {
		if s := finished(t, j, ResultFailed); s.ErrorKind != importer.KindInterrupted {
			t.Errorf("job %d: %s %s", s.ID, s.ErrorKind, s.ErrorMessage)
		}
	}
	_, err = f.Import(request("example.com/a"), JobOptions{}, Caller{})
	wantKind(t, err, importer.KindInterrupted)
	if f.Active() != 0 || len(f.Jobs()) != 3 {
		t.Errorf("%d active of %d", f.Active(), len(f.Jobs()))
	}
	await(t, events, func(e Event) bool { return e.Type == JobFinished && e.Job.ID == a.ID() })
}

func TestShutdownWaitsForLanding(t *testing.T) {
	f, j, finish := landing(t)
	queued := f.startImport(t, "example.com/b")
	ended := make(chan error, 1)
	go func() { ended <- f.Shutdown(t.Context()) }()
	finished(t, queued, ResultFailed)
	finish()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	finished(t, j, ResultDone)
}

func TestShutdownGivesUp(t *testing.T) {
	f, j, _ := landing(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if s := finished(t, j, ResultFailed); s.ErrorKind != importer.KindInterrupted {
		t.Errorf("error %s: %s", s.ErrorKind, s.ErrorMessage)
	}
}
