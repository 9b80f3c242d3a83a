package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// write puts a file into the state directory.
func (f *fixture) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(f.config.StateDir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stateFiles are the names in a folder of the state directory.
func (f *fixture) stateFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.config.StateDir, dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestRestartKeepsFinishedJobs(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	done := finished(t, f.startImport(t, "example.com/a"), ResultDone)
	failed := finished(t, f.startImport(t, "example.com/missing"), ResultFailed)
	f.shutdown(t, f.Manager)
	f.start(t)
	for _, want := range []JobStatus{done, failed} {
		j, err := f.Job(want.ID)
		if err != nil {
			t.Fatal(err)
		}
		got := finished(t, j, want.Result)
		if got.ErrorKind != want.ErrorKind || got.ErrorMessage != want.ErrorMessage || !got.Finished.Equal(want.Finished) {
			t.Errorf("job %d: %+v, want %+v", want.ID, got, want)
		}
		if want.Import != nil && got.Import.Commit != want.Import.Commit {
			t.Errorf("job %d: %+v, want %+v", want.ID, got.Import, want.Import)
		}
		wantKind(t, j.Cancel(), importer.KindNotCancellable)
	}
	if next := f.startImport(t, "example.com/a"); next.ID() != 3 {
		t.Errorf("the next job is %d", next.ID())
	}
}

func TestRestartAfterCrash(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	held := f.registry.block(t, "open example.com/a")
	running := started(t)(f.Import(request("example.com/a"), JobOptions{TransactionID: "t1"}, Caller{UID: 5}))
	queued := f.startImport(t, "example.com/b")
	<-held.reached
	// The first Manager stays as it is, as if its process had died; what it does later is not what
	// the next one knows.
	crashed := f.Manager
	f.config.StateDir = copyState(t, f.config.StateDir)
	f.start(t)
	for _, id := range []uint64{running.ID(), queued.ID()} {
		j, err := f.Job(id)
		if err != nil {
			t.Fatal(err)
		}
		s := finished(t, j, ResultFailed)
		if s.ErrorKind != importer.KindInterrupted || !strings.Contains(s.ErrorMessage, "layers that are complete are kept") {
			t.Errorf("job %d: %s %s", id, s.ErrorKind, s.ErrorMessage)
		}
	}
	if f.Active() != 0 {
		t.Errorf("%d active", f.Active())
	}
	same := started(t)(f.Import(request("example.com/a"), JobOptions{TransactionID: "t1"}, Caller{UID: 5}))
	if same.ID() != running.ID() {
		t.Errorf("job %d for the transaction of %d", same.ID(), running.ID())
	}
	held.release()
	if again := f.startImport(t, "example.com/a"); again.ID() != queued.ID()+1 {
		t.Errorf("the next job is %d", again.ID())
	} else {
		finished(t, again, ResultDone)
	}
	f.shutdown(t, crashed)
}

// copyState copies a state directory.
func copyState(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRestartWithBrokenFiles(t *testing.T) {
	tests := []struct {
		name, file, content string
		gone                bool // instead of moved aside
	}{
		{"cut record", "jobs/3.json", `{"status": {"id": 3`, false},
		{"empty record", "jobs/3.json", "", false},
		{"another job's record", "jobs/3.json", `{"status": {"id": 4, "state": "finished"}}`, false},
		{"no id", "jobs/three.json", `{}`, false},
		{"negative id", "jobs/-3.json", `{}`, false},
		{"half written record", "jobs/3.json.part", `{"status"`, true},
		{"cut plan", "prepared/3.json", `{"id": 3, "plan": {`, false},
		{"another plan's record", "prepared/3.json", `{"id": 5}`, false},
		{"counter", "next-job", "many\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fixture{config: Config{StateDir: t.TempDir(), Importer: func() (*importer.Importer, error) { return nil, nil }}}
			f.write(t, tt.file, tt.content)
			f.write(t, "jobs/2.json", `{"status": {"id": 2, "state": "running"}}`)
			f.start(t)
			if jobs := f.Jobs(); len(jobs) != 1 || jobs[0].ID != 2 || jobs[0].ErrorKind != importer.KindInterrupted {
				t.Errorf("jobs %+v", jobs)
			}
			if f.nextID != 3 {
				t.Errorf("next id %d", f.nextID)
			}
			dir, base := filepath.Split(tt.file)
			names := strings.Join(f.stateFiles(t, dir), " ")
			if moved := strings.Contains(names, base+".broken"); moved == tt.gone {
				t.Errorf("files %s", names)
			}
			if strings.Contains(names+" ", base+" ") {
				t.Errorf("%s is still there: %s", base, names)
			}
		})
	}
}

func TestStateDirCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{StateDir: file}); err == nil || !strings.Contains(err.Error(), "cannot make the directory") {
		t.Errorf("New: %v", err)
	}
}

func TestCounterCannotBeSaved(t *testing.T) {
	f := newFixture(t)
	f.write(t, "next-job.part/in-the-way", "")
	_, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	wantKind(t, err, importer.KindFailed)
	if len(f.Jobs()) > 0 || f.Active() != 0 {
		t.Errorf("jobs %+v", f.Jobs())
	}
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		events := subscribe(t, f.Manager)
		first := f.startImport(t, "example.com/missing")
		finished(t, first, ResultFailed)
		time.Sleep(5 * time.Minute)
		second := finished(t, f.startImport(t, "example.com/missing"), ResultFailed)
		time.Sleep(4 * time.Minute)
		if jobs := f.Jobs(); len(jobs) != 2 {
			t.Errorf("after 9 minutes: %+v", jobs)
		}
		e, _ := await(t, events, func(e Event) bool { return e.Type == JobRemoved })
		if e.Job.ID != first.ID() || e.Job.Result != ResultFailed {
			t.Errorf("event %+v", e)
		}
		_, err := f.Job(first.ID())
		wantKind(t, err, importer.KindNoSuchJob)
		if s := first.Status(); s.Result != ResultFailed {
			t.Errorf("the handle says %+v", s)
		}
		if names := f.stateFiles(t, "jobs"); len(names) != 1 || names[0] != "2.json" {
			t.Errorf("records %q", names)
		}
		// The rest of the second job's time is counted across a restart.
		f.shutdown(t, f.Manager)
		f.start(t)
		if jobs := f.Jobs(); len(jobs) != 1 || jobs[0].ID != second.ID {
			t.Errorf("after the restart: %+v", jobs)
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if jobs := f.Jobs(); len(jobs) > 0 {
			t.Errorf("after 15 minutes: %+v", jobs)
		}
		// Ids aren't used again, though there is no record left.
		f.shutdown(t, f.Manager)
		f.start(t)
		if third := f.startImport(t, "example.com/missing"); third.ID() != second.ID+1 {
			t.Errorf("the next job is %d", third.ID())
		}
	})
}

func TestRetentionMax(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RetainMax = 2 })
	for i := range 4 {
		options := JobOptions{TransactionID: fmt.Sprint("t", i)}
		finished(t, started(t)(f.Import(request("example.com/missing"), options, Caller{})), ResultFailed)
		finished(t, f.startImport(t, "example.com/missing"), ResultFailed)
	}
	jobs := f.Jobs()
	if len(jobs) != 2 || jobs[0].ID+1 != jobs[1].ID {
		t.Errorf("jobs %+v", jobs)
	}
	if names := f.stateFiles(t, "jobs"); len(names) != 2 {
		t.Errorf("records %q", names)
	}
	if len(f.byTransaction) > 1 {
		t.Errorf("transactions %+v", f.byTransaction)
	}
}

func TestRecordFollowsTheState(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/a", "a")
	read := func() string {
		text, err := os.ReadFile(filepath.Join(f.config.StateDir, "jobs", "1.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	held := f.registry.block(t, "open example.com/a")
	a, err := f.Import(request("example.com/a"), JobOptions{}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, `"state":"queued"`},
		{func() { a.Start(); <-held.reached }, `"state":"running"`},
		{func() { held.release(); finished(t, a, ResultDone) }, `"result":"done"`},
	} {
		step.do()
		if text := read(); !strings.Contains(text, step.want) {
			t.Errorf("record lacks %s: %s", step.want, text)
		}
	}
}
