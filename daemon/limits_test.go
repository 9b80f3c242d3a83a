package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
)

// TestRecordsThatAreTooLarge: they are dropped, for they would be in answers to everybody.
func TestRecordsThatAreTooLarge(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := map[string]string{
		"image":          `{"status": {"id": 3, "state": "finished", "image": "` + long(4<<20) + `"}}`,
		"just too long":  `{"status": {"id": 3, "state": "finished", "image": "` + long(maxSubject+1) + `"}}`,
		"error message":  `{"status": {"id": 3, "state": "finished", "error-message": "` + long(maxMessage+1) + `"}}`,
		"status text":    `{"status": {"id": 3, "state": "finished", "status-text": "` + long(maxStatusText+1) + `"}}`,
		"transaction id": `{"status": {"id": 3, "state": "finished", "transaction-id": "` + long(maxSubject+1) + `"}}`,
		"results":        `{"status": {"id": 3, "state": "finished", "results": "` + long(maxResults+1) + `"}}`,
		"file":           `{"status": {"id": 3, "state": "finished"}, "work": "` + long(maxRecord) + `"}`,
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fixture{config: Config{StateDir: t.TempDir(), Importer: func() (*importer.Importer, error) { return nil, nil }}}
			f.write(t, "jobs/3.json", content)
			f.write(t, "jobs/2.json", `{"status": {"id": 2, "state": "running"}}`)
			f.start(t)
			if jobs := f.Jobs(); len(jobs) != 1 || jobs[0].ID != 2 {
				t.Errorf("%d jobs", len(jobs))
			}
			if names := f.stateFiles(t, "jobs"); len(names) != 1 {
				t.Errorf("files %s", names)
			}
		})
	}
}

// TestLargeResultsAreNotKept: a job tells how it went, but neither memory nor the state directory
// hold what it found.
func TestLargeResultsAreNotKept(t *testing.T) {
	f := newFixture(t)
	large := json.RawMessage(`"` + strings.Repeat("x", maxResults) + `"`)
	do := func(transient bool) JobStatus {
		work := task{work: work{Type: JobVerify, Request: json.RawMessage(`{}`)}, subject: strings.Repeat("s", 2*maxSubject), transient: transient}
		work.run = func(context.Context, *Manager, *importer.Importer, *job) (outcome, error) {
			return outcome{text: strings.Repeat("t", 2*maxStatusText), results: large}, nil
		}
		return finished(t, started(t)(f.submit(work, JobOptions{}, Caller{})), ResultDone)
	}
	if s := do(false); s.Results != nil || s.Result != ResultDone || len(s.StatusText) > maxStatusText || len(s.Image) > maxSubject {
		t.Errorf("%d bytes of results, %s, status text of %d bytes, image of %d", len(s.Results), s.Result, len(s.StatusText), len(s.Image))
	}
	if s := do(true); len(s.Results) != len(large) {
		t.Errorf("who waits gets %d bytes", len(s.Results))
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	j := &job{}
	j.end("", errors.New(strings.Repeat("ä", maxMessage)))
	if s := j.status; len(s.ErrorMessage) > maxMessage || len(s.StatusText) > maxStatusText || !strings.HasSuffix(s.ErrorMessage, "ä …") {
		t.Errorf("message of %d bytes, status text of %d", len(s.ErrorMessage), len(s.StatusText))
	}
}

// TestLargeRecordIsSavedWithoutResults: the request of a job can be large too.
func TestLargeRecordIsSavedWithoutResults(t *testing.T) {
	f := newFixture(t)
	result := &importer.Result{Commit: strings.Repeat("c", maxJobRecord)}
	f.store.saveJob(jobRecord{Status: JobStatus{ID: 7, Import: result}})
	info, err := os.Stat(filepath.Join(f.config.StateDir, "jobs/7.json"))
	if err != nil || info.Size() > 1000 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestPlansMakeRoomForTheirDocuments: a few large ones take the room of many.
func TestPlansMakeRoomForTheirDocuments(t *testing.T) {
	f := newFixture(t)
	f.mu.Lock()
	for id := range uint64(5) {
		f.addPlan(Prepared{ID: id + 1, Plan: importer.Plan{Manifest: make([]byte, maxPlans/3)}}, f.cfg.PreparedTTL)
	}
	f.mu.Unlock()
	if plans := f.ListPrepared(); len(plans) != 3 || plans[0].ID != 3 {
		t.Errorf("%d plans are left", len(plans))
	}
}
