package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// probe is the request of an operation that does what it is told to.
type probe struct {
	Name string `json:"name"`
	Fail bool   `json:"fail,omitempty"`
}

// found is its result.
type found struct {
	Name string `json:"name"`
}

// probing is an operation that passes a gate, if there is one of the request's name, and reports
// the given progress.
func probing(l lane, gates map[string]*gate, steps ...importer.Progress) operation[probe, found] {
	return operation[probe, found]{
		typ:      "probe",
		stage:    importer.StageCheck,
		lane:     always[probe](l),
		subject:  func(p probe) string { return p.Name },
		text:     func(f *found) string { return "probed " + f.Name },
		repaired: func(_ probe, f *found) repaired { return repaired{all: f == nil || f.Name == "repairs"} },
		do: func(_ *importer.Importer, ctx context.Context, p probe, progress func(importer.Progress)) (*found, error) {
			for _, step := range steps {
				progress(step)
			}
			if g := gates[p.Name]; g != nil {
				g.reach()
				select {
				case <-g.opened:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if p.Fail {
				return nil, &importer.Error{Kind: importer.KindNoSpace, Err: errors.New("full")}
			}
			return &found{p.Name}, nil
		},
	}
}

func TestOperation(t *testing.T) {
	tests := []struct {
		name    string
		request probe
		result  JobResult
		text    string
		changed bool
	}{
		{"changes nothing", probe{Name: "a"}, ResultDone, "probed a", false},
		{"repairs images", probe{Name: "repairs"}, ResultDone, "probed repairs", true},
		{"fails on its way", probe{Name: "a", Fail: true}, ResultFailed, "failed: full", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.registry.add(t, "example.com/os:1", "one")
			finished(t, f.startImport(t, "example.com/os:1"), ResultDone)
			events := subscribe(t, f.Manager)
			op := probing(laneWrite, nil, importer.Progress{Stage: importer.StageCheck, Steps: 1, StepsTotal: 4})
			status := finished(t, started(t)(start(f.Manager, op, tt.request, JobOptions{}, Caller{UID: 5})), tt.result)
			if status.Type != "probe" || status.Image != tt.request.Name || status.StatusText != tt.text || status.CallerUID != 5 {
				t.Errorf("status %+v", status)
			}
			if status.Progress.StepsTotal != 4 {
				t.Errorf("progress %+v", status.Progress)
			}
			f.emit(Event{Type: PreparedRemoved})
			_, before := await(t, events, func(e Event) bool { return e.Type == PreparedRemoved })
			if changed := slices.ContainsFunc(before, func(e Event) bool { return e.Type == ImagesChanged }); changed != tt.changed {
				t.Errorf("images changed: %t", changed)
			}
			results, err := Results[found](status)
			if tt.result == ResultFailed {
				wantKind(t, err, importer.KindFailed)
				if status.ErrorKind != importer.KindNoSpace {
					t.Errorf("error %s", status.ErrorKind)
				}
				return
			}
			if err != nil || results.Name != tt.request.Name {
				t.Errorf("results %+v, %v", results, err)
			}
			f.shutdown(t, f.Manager)
			f.start(t)
			j, err := f.Job(status.ID)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Results[found](j.Status()); err != nil || *again != *results || j.Status().StatusText != tt.text {
				t.Errorf("after a restart: %+v, %v", j.Status(), err)
			}
		})
	}
}

func TestResultsOfAnotherVersion(t *testing.T) {
	_, err := Results[found](JobStatus{ID: 3, Results: json.RawMessage(`{"name": 5}`)})
	wantKind(t, err, importer.KindFailed)
}

func TestLanes(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	a := f.startImport(t, "example.com/a")
	<-held.reached

	gates := map[string]*gate{}
	for _, name := range []string{"write 1", "write 2", "read 1", "read 2", "read 3", "lookup"} {
		gates[name] = f.registry.block(t, name)
	}
	run := func(l lane, name string) *Job {
		return started(t)(start(f.Manager, probing(l, gates), probe{Name: name}, JobOptions{}, Caller{}))
	}
	writes := []*Job{run(laneWrite, "write 1"), run(laneWrite, "write 2")}
	reads := []*Job{run(laneRead, "read 1"), run(laneRead, "read 2"), run(laneRead, "read 3")}
	lookup := run(laneLookup, "lookup")
	for j, want := range map[*Job]JobState{
		writes[0]: StateRunning, writes[1]: StateQueued, reads[0]: StateRunning, reads[1]: StateRunning, reads[2]: StateQueued, lookup: StateRunning,
	} {
		if s := j.Status(); s.State != want {
			t.Errorf("%s is %s, want %s", s.Image, s.State, want)
		}
	}
	_, err := start(f.Manager, probing(laneRead, nil), probe{Name: "read 4"}, JobOptions{NoQueue: true}, Caller{})
	wantKind(t, err, importer.KindBusy)
	if err == nil || !strings.Contains(err.Error(), "(probe of read 1) is running") {
		t.Errorf("message %q", err)
	}
	gates["read 2"].release()
	<-gates["read 3"].reached
	gates["write 1"].release()
	<-gates["write 2"].reached
	held.release()
	finished(t, a, ResultDone)
	for _, g := range gates {
		g.release()
	}
	for _, j := range append(reads, writes[0], writes[1], lookup) {
		finished(t, j, ResultDone)
	}
}

func TestOperationIsCanceled(t *testing.T) {
	f := newFixture(t)
	gates := map[string]*gate{"a": f.registry.block(t, "a")}
	j := started(t)(start(f.Manager, probing(laneRead, gates), probe{Name: "a"}, JobOptions{}, Caller{}))
	<-gates["a"].reached
	if err := j.Cancel(); err != nil {
		t.Fatal(err)
	}
	finished(t, j, ResultCanceled)
}

func TestCancellableAgainAfterALayerLanded(t *testing.T) {
	stages := func(stages ...importer.Stage) (steps []importer.Progress) {
		for _, stage := range stages {
			steps = append(steps, importer.Progress{Stage: stage})
		}
		return steps
	}
	tests := []struct {
		name  string
		steps []importer.Progress
		want  bool
	}{
		{"at work", stages(importer.StageCheck), true},
		{"landing", stages(importer.StageRepair, importer.StageLand), false},
		{"the next layer", stages(importer.StageLand, importer.StageRepair), true},
		{"collecting after the image", stages(importer.StageLand, importer.StageCollect), false},
		{"collecting", stages(importer.StageCollect), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			gates := map[string]*gate{"a": f.registry.block(t, "a")}
			j := started(t)(start(f.Manager, probing(laneRead, gates, tt.steps...), probe{Name: "a"}, JobOptions{}, Caller{}))
			<-gates["a"].reached
			if s := j.Status(); s.Cancellable != tt.want {
				t.Errorf("cancellable: %t", s.Cancellable)
			}
			gates["a"].release()
			finished(t, j, ResultDone)
		})
	}
}

func TestProgressDoesNotRecallACancellation(t *testing.T) {
	f := newFixture(t)
	gates := map[string]*gate{"a": f.registry.block(t, "a")}
	j := started(t)(start(f.Manager, probing(laneRead, gates), probe{Name: "a"}, JobOptions{}, Caller{}))
	<-gates["a"].reached
	// The job can't end meanwhile: it is caught while canceling.
	f.mu.Lock()
	j.job.cancel = func() {}
	f.stop(j.job, importer.KindCanceled)
	f.mu.Unlock()
	f.progress(j.job, importer.Progress{Stage: importer.StageRepair})
	if s := j.Status(); s.Cancellable || s.State != StateCanceling {
		t.Errorf("status %+v", s)
	}
	gates["a"].release()
	finished(t, j, ResultDone)
}

func TestTransientJobIsForgotten(t *testing.T) {
	f := newFixture(t)
	events := subscribe(t, f.Manager)
	op := probing(laneLookup, nil)
	op.transient = true
	j := started(t)(start(f.Manager, op, probe{Name: "a"}, JobOptions{}, Caller{}))
	status := finished(t, j, ResultDone)
	if results, err := Results[found](status); err != nil || results.Name != "a" {
		t.Errorf("results %+v, %v", results, err)
	}
	_, before := await(t, events, func(e Event) bool { return e.Type == JobRemoved })
	if last := before[len(before)-1]; last.Type != JobFinished || last.Job.Result != ResultDone {
		t.Errorf("event %+v", last)
	}
	if jobs, files := f.Jobs(), f.stateFiles(t, jobsDir); len(jobs) > 0 || len(files) > 0 {
		t.Errorf("jobs %+v, records %q", jobs, files)
	}
}

// TestRequestsOfOperations holds what each method makes of its request.
func TestRequestsOfOperations(t *testing.T) {
	f := newFixture(t)
	tests := []struct {
		typ     JobType
		ask     func() (*Job, error)
		lane    lane
		image   string
		request string
	}{
		{JobUnencapsulate, func() (*Job, error) {
			return f.Unencapsulate(importer.UnencapsulateRequest{Image: "docker://x", Ref: "os"}, JobOptions{}, Caller{})
		}, laneImport, "docker://x", `{"image":"docker://x","write-ref":"os"}`},
		{JobEncapsulate, func() (*Job, error) {
			return f.Encapsulate(importer.EncapsulateRequest{Rev: "os", Destination: "oci:/x"}, JobOptions{}, Caller{})
		}, laneRead, "os", `{"rev":"os","destination":"oci:/x"}`},
		{JobExport, func() (*Job, error) {
			return f.Export(importer.ExportRequest{Image: "docker://x", Destination: "tar:/x"}, JobOptions{}, Caller{})
		}, laneRead, "docker://x", `{"image":"docker://x","destination":"tar:/x"}`},
		{JobCopy, func() (*Job, error) {
			return f.Copy(importer.CopyRequest{Image: "docker://x", Repository: "/r"}, JobOptions{}, Caller{})
		}, laneWrite, "docker://x", `{"image":"docker://x","repository":"/r"}`},
		{JobRemove, func() (*Job, error) {
			return f.Remove(importer.RemoveRequest{Images: []string{"docker://x", "docker://y", "docker://z"}}, JobOptions{}, Caller{})
		}, laneWrite, "docker://x and 2 more", `{"images":["docker://x","docker://y","docker://z"]}`},
		{JobPrune, func() (*Job, error) {
			return f.Prune(importer.PruneRequest{Scope: importer.PruneImages, KeepLast: 2}, JobOptions{}, Caller{})
		}, laneWrite, "images", `{"scope":"images","keep-last":2}`},
		{JobVerify, func() (*Job, error) {
			return f.Verify(importer.VerifyRequest{Images: []string{}}, JobOptions{}, Caller{})
		}, laneRead, "all images", `{"images":null}`},
		{JobVerify, func() (*Job, error) {
			return f.Verify(importer.VerifyRequest{Images: []string{"docker://x"}, Repair: true}, JobOptions{}, Caller{})
		}, laneWrite, "docker://x", `{"images":["docker://x"],"repair":true}`},
		{JobCompare, func() (*Job, error) {
			return f.Compare(importer.CompareRequest{Image: "docker://x", Access: importer.Access{DecryptionKeys: []string{}}}, JobOptions{}, Caller{})
		}, laneLookup, "docker://x", `{"image":"docker://x"}`},
		{JobCheckUpdate, func() (*Job, error) {
			return f.CheckUpdate(importer.UpdateRequest{Image: "docker://x", Offline: true}, JobOptions{}, Caller{})
		}, laneLookup, "docker://x", `{"image":"docker://x","offline":true}`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.typ, " of ", tt.image), func(t *testing.T) {
			j, err := tt.ask()
			if err != nil {
				t.Fatal(err)
			}
			if s := j.Status(); s.Type != tt.typ || s.Image != tt.image || j.job.lane != tt.lane || string(j.job.work.Request) != tt.request {
				t.Errorf("%s of %q in lane %d: %s", s.Type, s.Image, j.job.lane, j.job.work.Request)
			}
			if again, err := tt.ask(); err != nil || again.ID() != j.ID() {
				t.Errorf("asked again: %v", err)
			}
			if err := j.Cancel(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTextsOfOperations(t *testing.T) {
	verified := &importer.VerifyResult{Images: []importer.VerifiedImage{
		{State: importer.StateGood}, {State: importer.StateDamaged}, {State: importer.StateRepaired}, {State: importer.StateRepaired},
	}}
	for got, want := range map[string]string{
		unencapsulate.text(&importer.UnencapsulateResult{Commit: "c1"}):          "unencapsulated as commit c1",
		encapsulate.text(&importer.EncapsulateResult{Destination: "oci:/x"}):     "encapsulated as oci:/x",
		export.text(&importer.ExportResult{Destination: "tar:/x"}):               "exported to tar:/x",
		export.text(&importer.ExportResult{Destination: "tar:/x", Cached: true}): "already in tar:/x",
		copyImage.text(&importer.CopyResult{Repository: "/r"}):                   "copied to /r",
		remove.text(&importer.RemoveResult{Removed: []string{"a"}}):              "removed 1 image",
		prune.text(&importer.PruneResult{Images: 2, Layers: 1, Objects: 3}):      "dropped 2 images, 1 layer and 3 objects",
		prune.text(&importer.PruneResult{DryRun: true}):                          "would drop 0 images, 0 layers and 0 objects",
		verify.text(verified): "checked 4 images: 1 damaged, 2 repaired",
		compare.text(&importer.Comparison{Added: make([]importer.ComparedLayer, 2)}):                      "2 layers added, 0 removed, 0 kept",
		checkUpdate.text(&importer.Update{}) + ", " + checkUpdate.text(&importer.Update{Available: true}): "up to date, an update is available",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRepairedImages(t *testing.T) {
	found := &importer.VerifyResult{Images: []importer.VerifiedImage{
		{Reference: "docker://a", State: importer.StateGood}, {Reference: "docker://b", State: importer.StateRepaired},
		{Reference: "docker://c", State: importer.StateDamaged},
	}}
	for name, tt := range map[string]struct {
		request importer.VerifyRequest
		result  *importer.VerifyResult
		want    repaired
	}{
		"repaired":      {importer.VerifyRequest{Repair: true}, found, repaired{names: []string{"docker://b"}}},
		"repair failed": {importer.VerifyRequest{Repair: true}, nil, repaired{all: true}},
		"check failed":  {importer.VerifyRequest{}, nil, repaired{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := repairedImages(tt.request, tt.result); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestRecordOfAnEarlierVersion: the request was an import's, written out as it is now.
func TestRecordOfAnEarlierVersion(t *testing.T) {
	f := newFixture(t)
	f.write(t, "jobs/7.json", `{"status": {"id": 7, "type": "import", "image": "docker://example.com/a", "transaction-id": "t1", "state": "finished",
		"result": "done", "status-text": "imported", "finished": "2999-01-01T00:00:00Z", "import": {"commit": "c1"}},
		"work": {"type": "import", "request": {"image":"docker://example.com/a","target-image":"docker://example.com/b","jobs":2,"access":{"authfile":"/a"}},
		"manifest": "sha256:1"}, "transactions": ["t1"]}`)
	f.shutdown(t, f.Manager)
	f.start(t)
	j, err := f.Job(7)
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Status(); s.Import.Commit != "c1" || s.StatusText != "imported" {
		t.Errorf("status %+v", s)
	}
	same, err := importTask(importer.Request{
		Image: "docker://example.com/a", Target: "docker://example.com/b", Jobs: 2, Access: importer.Access{AuthFile: "/a"},
	}, &importer.Plan{ManifestDigest: digest.Digest("sha256:1")})
	if err != nil {
		t.Fatal(err)
	}
	if again := started(t)(f.submit(same, JobOptions{TransactionID: "t1"}, Caller{})); again.ID() != 7 {
		t.Errorf("job %d for the transaction of job 7", again.ID())
	}
}
