package daemon

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestFractionAndStatusText(t *testing.T) {
	at := func(stage importer.Stage) JobStatus {
		return JobStatus{Type: JobImport, State: StateRunning, Progress: importer.Progress{
			Stage: stage, LayersTotal: 10, LayersCached: 3, LayersDone: 3, Bytes: 439, BytesTotal: 1000, BytesCached: 500,
		}}
	}
	with := func(s JobStatus, change func(*JobStatus)) JobStatus {
		change(&s)
		return s
	}
	tests := []struct {
		name     string
		status   JobStatus
		fraction float64
		text     string
	}{
		{"queued", JobStatus{State: StateQueued}, -1, "waiting"},
		{"opening", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageOpen}}, -1, "opening the image"},
		{"manifest", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageManifest}}, -1, "reading the manifest"},
		{"planned", at(importer.StagePlan), 0.439, "looking for layers that are present"},
		{"fetching", at(importer.StageFetch), 0.439, "fetching 3/7 layers, 43 %"},
		{"fetching, no sizes", with(at(importer.StageFetch), func(s *JobStatus) { s.Progress.BytesTotal = 0 }), 3.0 / 7, "fetching 3/7 layers, 42 %"},
		{"nothing to fetch", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageFetch}}, -1, "fetching 0/0 layers, 0 %"},
		{"more than announced", with(at(importer.StageFetch), func(s *JobStatus) { s.Progress.Bytes = 2000 }), 1, "fetching 3/7 layers, 100 %"},
		{"merging", at(importer.StageMerge), 1, "merging 10 layers"},
		{"landing", at(importer.StageLand), 1, "writing the image to the repository"},
		{"canceling", with(at(importer.StageFetch), func(s *JobStatus) { s.State = StateCanceling }), 0.439, "canceling"},
		{"done", JobStatus{Type: JobImport, State: StateFinished, Result: ResultDone, Import: &importer.Result{}}, 1, "imported"},
		{
			"already present",
			JobStatus{Type: JobImport, State: StateFinished, Result: ResultDone, Import: &importer.Result{AlreadyPresent: true}},
			1, "already present",
		},
		{"prepared", JobStatus{Type: JobPrepare, State: StateFinished, Result: ResultDone}, 1, "prepared"},
		{"canceled", JobStatus{State: StateFinished, Result: ResultCanceled}, -1, "canceled"},
		{"failed", JobStatus{State: StateFinished, Result: ResultFailed, ErrorMessage: "open: it\n said: no\n"}, -1, "failed: open: it said: no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.status.Fraction(); got != tt.fraction {
				t.Errorf("Fraction = %v, want %v", got, tt.fraction)
			}
			if got := statusText(tt.status); got != tt.text {
				t.Errorf("statusText = %q, want %q", got, tt.text)
			}
		})
	}
}

func TestStatusJSON(t *testing.T) {
	text, err := json.Marshal(JobStatus{ID: 7, Type: JobImport, State: StateQueued, Image: "docker://x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"started", "finished", "result", "import", "prepared_id", "error_kind"} {
		if strings.Contains(string(text), `"`+absent+`":`) {
			t.Errorf("%s is in %s, though unset", absent, text)
		}
	}
	want := JobStatus{ID: 7, Type: JobPrepare, State: StateFinished, Finished: time.Unix(1, 0).UTC(), PreparedID: 7}
	var got JobStatus
	if err := json.Unmarshal(marshal(t, want), &got); err != nil || !got.Finished.Equal(want.Finished) || got.PreparedID != 7 {
		t.Errorf("read back %+v, %v", got, err)
	}
}
