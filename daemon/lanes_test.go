package daemon

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// TestImportsRunSideBySide: an import that waits for its registry holds up no import of another
// image, and those of the same image, whatever its name looks like, are done in the order in which
// they were asked for.
func TestImportsRunSideBySide(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Imports = 0 })
	f.registry.add(t, "example.com/slow", "slow", "shared by both")
	f.registry.add(t, "example.com/fast", "fast", "shared by both")
	held := f.registry.block(t, "blob example.com/slow")
	slow := f.startImport(t, "example.com/slow")
	<-held.reached
	finished(t, f.startImport(t, "example.com/fast"), ResultDone)

	again := request("example.com/slow:latest")
	again.Target = request("example.com/slow").Image
	again.DropSpecialFiles = true
	f.registry.add(t, "example.com/slow:latest", "the newer one")
	second := started(t)(f.Import(again, JobOptions{}, Caller{}))
	if s := second.Status(); s.State != StateQueued || s.WaitsFor != "job 1 (import of docker://example.com/slow)" ||
		s.StatusText != "waiting for job 1 (import of docker://example.com/slow)" {
		t.Errorf("the other import of the image: %+v", s)
	}
	again.Jobs = 2
	_, err := f.Import(again, JobOptions{NoQueue: true}, Caller{})
	wantKind(t, err, importer.KindBusy)

	held.release()
	finished(t, slow, ResultDone)
	want := finished(t, second, ResultDone).Import.Commit
	image, err := f.Image(t.Context(), again.Target)
	if err != nil || image.Commit != want {
		t.Errorf("stored is %+v (%v), want the commit %s that was asked for last", image, err, want)
	}
}

// TestSlotsOfImports: imports run in bounded number, of which no user but root has more than half.
func TestSlotsOfImports(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Imports = 4 })
	ask := func(name string, uid uint32) *Job {
		f.registry.add(t, "example.com/"+name, name)
		f.registry.block(t, "open example.com/"+name)
		return started(t)(f.Import(request("example.com/"+name), JobOptions{}, Caller{UID: uid}))
	}
	for _, tt := range []struct {
		name  string
		uid   uint32
		state JobState
		waits string
	}{
		{"a", 1000, StateRunning, ""},
		{"b", 1000, StateRunning, ""},
		{"c", 1000, StateQueued, "one of the jobs 1, 2"},
		{"d", 0, StateRunning, ""},
		{"e", 0, StateRunning, ""},
		{"f", 0, StateQueued, "one of the jobs 1, 2, 4, 5"},
	} {
		j := ask(tt.name, tt.uid)
		if s := j.Status(); s.State != tt.state || s.WaitsFor != tt.waits {
			t.Errorf("%s: %s, waits for %q; want %s, %q", tt.name, s.State, s.WaitsFor, tt.state, tt.waits)
		}
	}
	// The slot of job 4 goes to the first that may have it: job 3 is of a user who has two.
	if err := f.Cancel(4); err != nil {
		t.Fatal(err)
	}
	stopped, err := f.Job(4)
	if err != nil {
		t.Fatal(err)
	}
	finished(t, stopped, ResultCanceled)
	for id, want := range map[uint64]JobState{3: StateQueued, 6: StateRunning} {
		if j, err := f.Job(id); err != nil || j.Status().State != want {
			t.Errorf("job %d: %v, %v", id, j.Status().State, err)
		}
	}
}

// TestWaitingForTheRepository: a job that runs, but waits for others to leave the repository, says
// so.
func TestWaitingForTheRepository(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/slow", "slow")
	held := f.registry.block(t, "blob example.com/slow")
	events := subscribe(t, f.Manager)
	slow := f.startImport(t, "example.com/slow")
	<-held.reached
	startPrune := func() *Job {
		prune := started(t)(f.Prune(importer.PruneRequest{Scope: importer.PruneLayers}, JobOptions{}, Caller{}))
		for {
			e := <-events
			if e.Job.ID == prune.ID() && strings.Contains(e.Job.StatusText, "waiting for job 1 (import of docker://example.com/slow)") {
				return prune
			}
		}
	}
	impatient := startPrune()
	if err := impatient.Cancel(); err != nil {
		t.Fatal(err)
	}
	finished(t, impatient, ResultCanceled)
	prune := startPrune()
	held.release()
	finished(t, slow, ResultDone)
	if s := finished(t, prune, ResultDone); s.WaitsFor != "" {
		t.Errorf("still waits for %q", s.WaitsFor)
	}
}

// TestCollectionSparesRunningImports: what an import collects at its end is nothing that another
// one has landed meanwhile.
func TestCollectionSparesRunningImports(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Imports = 0 })
	f.registry.add(t, "example.com/slow", "first", "second")
	f.registry.add(t, "example.com/fast", "fast")
	held := f.registry.block(t, "blob "+digest.FromBytes(contentLayer(t, "second")).String())
	req := request("example.com/slow")
	req.Jobs = 1
	slow := started(t)(f.Import(req, JobOptions{}, Caller{}))
	<-held.reached // so that the first layer has landed
	for range 2 {
		finished(t, f.startImport(t, "example.com/fast"), ResultDone)
		f.registry.add(t, "example.com/fast", "a newer one")
	}
	held.release()
	for i, l := range finished(t, slow, ResultDone).Import.Layers {
		if n := f.registry.counted("blob " + l.Digest.String()); n != 1 {
			t.Errorf("layer %d was fetched %d times", i+1, n)
		}
	}
	if image, err := f.Image(t.Context(), req.Image); err != nil || len(image.Layers) != 2 {
		t.Errorf("stored is %+v, %v", image, err)
	}
	if _, err := f.Image(t.Context(), request("example.com/fast").Image); err != nil {
		t.Error(err)
	}
}

// TestEqualLayersOfTwoImports: two imports that fetch the same layer at the same time both land it.
func TestEqualLayersOfTwoImports(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Imports = 0 })
	var jobs []*Job
	var held []*gate
	for _, name := range []string{"example.com/a", "example.com/b", "example.com/c"} {
		f.registry.add(t, name, "the same", name)
		held = append(held, f.registry.block(t, "blob "+name))
		jobs = append(jobs, f.startImport(t, name))
	}
	for _, g := range held {
		<-g.reached
	}
	for _, g := range held {
		g.release()
	}
	shared := map[string]bool{}
	for _, j := range jobs {
		shared[finished(t, j, ResultDone).Import.Layers[0].Commit] = true
	}
	if len(shared) != 1 {
		t.Errorf("the layer became the commits %v", shared)
	}
	finished(t, started(t)(f.Verify(importer.VerifyRequest{}, JobOptions{}, Caller{})), ResultDone)
}
