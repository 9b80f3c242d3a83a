package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestImport(t *testing.T) {
	f := newFixture(t)
	manifest := f.registry.add(t, "example.com/os:1", "one", "two")
	events := subscribe(t, f.Manager)

	j, err := f.Import(request("example.com/os:1"), JobOptions{TransactionID: "t1"}, Caller{UID: 1000, Unit: "timer.service"})
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Status(); s.State != StateQueued || !s.Cancellable || s.ID != 1 || f.Active() != 1 {
		t.Errorf("before Start: %+v, %d active", s, f.Active())
	}
	j.Start()
	j.Start()
	status := finished(t, j, ResultDone)
	if status.Import == nil || status.Import.ManifestDigest != manifest || status.Import.AlreadyPresent {
		t.Errorf("Import = %+v", status.Import)
	}
	if status.CallerUID != 1000 || status.CallerUnit != "timer.service" || status.TransactionID != "t1" || status.Type != JobImport {
		t.Errorf("status %+v", status)
	}
	if status.Cancellable || status.Started.IsZero() || status.Finished.Before(status.Started) || !strings.HasPrefix(status.StatusText, "imported, ") {
		t.Errorf("status at the end %+v", status)
	}
	if f.Active() != 0 {
		t.Errorf("%d active", f.Active())
	}

	_, before := await(t, events, func(e Event) bool { return e.Type == ImagesChanged })
	if before[0].Type != JobNew || before[0].Job.State != StateQueued {
		t.Errorf("first event %+v", before[0])
	}
	if last := before[len(before)-1]; last.Type != JobFinished || last.Job.Result != ResultDone {
		t.Errorf("last event %+v", last)
	}
	images, err := f.Images(t.Context())
	if err != nil || len(images) != 1 || images[0].ManifestDigest != manifest {
		t.Errorf("Images = %+v, %v", images, err)
	}
	if one, err := f.Image(t.Context(), "docker://example.com/os:1"); err != nil || one.ManifestDigest != manifest {
		t.Errorf("Image = %+v, %v", one, err)
	}
}

func TestImportFails(t *testing.T) {
	f := newFixture(t)
	f.registry.fail("open example.com/os:1", &importer.Error{Kind: importer.KindRegistryUnauthorized, Err: errors.New("go away")})
	status := finished(t, f.startImport(t, "example.com/os:1"), ResultFailed)
	if status.ErrorKind != importer.KindRegistryUnauthorized || !strings.Contains(status.ErrorMessage, "go away") {
		t.Errorf("error %s: %s", status.ErrorKind, status.ErrorMessage)
	}
}

func TestPanicFailsTheJobOnly(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/os:1", "one")
	f.registry.panics["open example.com/broken"] = true
	status := finished(t, f.startImport(t, "example.com/broken"), ResultFailed)
	if status.ErrorKind != importer.KindFailed || !strings.Contains(status.ErrorMessage, "broken at open") {
		t.Errorf("error %s: %s", status.ErrorKind, status.ErrorMessage)
	}
	if !slices.ContainsFunc(f.log.AllEntries(), func(e *logrus.Entry) bool {
		return strings.Contains(e.Message, "goroutine") && e.Data["job-id"] == uint64(1)
	}) {
		t.Error("the stack is not in the log")
	}
	finished(t, f.startImport(t, "example.com/os:1"), ResultDone)
}

func TestImportsRunOneAtATime(t *testing.T) {
	f := newFixture(t)
	events := subscribe(t, f.Manager)
	for _, name := range []string{"example.com/a", "example.com/b", "example.com/c"} {
		f.registry.add(t, name, name)
	}
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	<-held.reached
	// c is created after b and started before it.
	b, err := f.Import(request("example.com/b"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	c := f.startImport(t, "example.com/c")
	b.Start()
	for _, j := range []*Job{b, c} {
		if s := j.Status(); s.State != StateQueued {
			t.Errorf("job %d is %s", s.ID, s.State)
		}
	}
	held.release()
	for _, j := range []*Job{a, b, c} {
		finished(t, j, ResultDone)
	}
	var order []uint64
	await(t, events, func(e Event) bool {
		if e.Type == JobChanged && e.Job.State == StateRunning && !slices.Contains(order, e.Job.ID) {
			order = append(order, e.Job.ID)
		}
		return e.Type == JobFinished && e.Job.ID == c.ID()
	})
	if !slices.Equal(order, []uint64{a.ID(), b.ID(), c.ID()}) {
		t.Errorf("jobs ran in the order %v", order)
	}
}

func TestUnstartedJobBlocksNobody(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	f.registry.add(t, "example.com/b", "b")
	a, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	finished(t, f.startImport(t, "example.com/b"), ResultDone)
	if s := a.Status(); s.State != StateQueued {
		t.Errorf("unstarted job is %s", s.State)
	}
	a.Start()
	finished(t, a, ResultDone)
}

func TestPreparesRunBesideImports(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	<-held.reached

	var prepares []*Job
	names := []string{"example.com/1", "example.com/2", "example.com/3", "example.com/4", "example.com/5"}
	gates := map[string]*gate{}
	for _, name := range names {
		f.registry.add(t, name, name)
		gates[name] = f.registry.block(t, "open "+name)
		prepares = append(prepares, started(t)(f.Prepare(request(name), JobOptions{}, Caller{})))
	}
	for _, j := range prepares[:4] {
		if s := j.Status(); s.State != StateRunning {
			t.Errorf("prepare %d is %s", s.ID, s.State)
		}
	}
	if s := prepares[4].Status(); s.State != StateQueued {
		t.Errorf("the fifth prepare is %s", s.State)
	}
	gates[names[2]].release()
	finished(t, prepares[2], ResultDone)
	<-gates[names[4]].reached
	for _, g := range gates {
		g.release()
	}
	for _, j := range prepares {
		finished(t, j, ResultDone)
	}
	held.release()
	finished(t, a, ResultDone)
}

func TestWaitEndsWithContext(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := a.Wait(ctx); !errors.Is(err, context.Canceled) || s.State != StateRunning {
		t.Errorf("Wait = %s, %v", s.State, err)
	}
	held.release()
	finished(t, a, ResultDone)
}

func TestNotAvailable(t *testing.T) {
	missing := &importer.Error{Kind: importer.KindNotAvailable, Err: errors.New("no repository")}
	f := newFixture(t, func(c *Config) {
		c.Importer = func() (*importer.Importer, error) { return nil, missing }
	})
	_, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	wantKind(t, err, importer.KindNotAvailable)
	_, err = f.Images(t.Context())
	wantKind(t, err, importer.KindNotAvailable)
	_, err = f.Image(t.Context(), "docker://example.com/a")
	wantKind(t, err, importer.KindNotAvailable)
	if jobs := f.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs %+v", jobs)
	}
	f.Ping()
}

// TestInit: the repository is made by a job, for which there is none before.
func TestInit(t *testing.T) {
	missing := &importer.Error{Kind: importer.KindNotAvailable, Err: errors.New("no repository")}
	var asked []importer.InitRequest
	f := newFixture(t, func(c *Config) {
		c.Importer = func() (*importer.Importer, error) { return nil, missing }
		c.Init = func(_ context.Context, r importer.InitRequest) (*importer.InitResult, error) {
			asked = append(asked, r)
			if r.Mode == "none" {
				return nil, &importer.Error{Kind: importer.KindInvalidOption, Err: errors.New("no such mode")}
			}
			return &importer.InitResult{Repository: "/r", Mode: "bare", Created: len(asked) == 1}, nil
		}
	})
	for _, want := range []string{"made the repository /r", "the repository /r was there already"} {
		s := finished(t, started(t)(f.Init(importer.InitRequest{Mode: "bare"}, JobOptions{}, Caller{})), ResultDone)
		if s.Type != JobInit || s.StatusText != want {
			t.Errorf("job of type %s: %q, want %q", s.Type, s.StatusText, want)
		}
		if r, err := Results[importer.InitResult](s); err != nil || r.Repository != "/r" || r.Mode != "bare" {
			t.Errorf("results %+v, %v", r, err)
		}
	}
	s := finished(t, started(t)(f.Init(importer.InitRequest{Mode: "none"}, JobOptions{}, Caller{})), ResultFailed)
	if s.ErrorKind != importer.KindInvalidOption || len(asked) != 3 {
		t.Errorf("failed with %s after %+v", s.ErrorKind, asked)
	}
}
