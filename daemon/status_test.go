package daemon

import (
	"encoding/json"
	"os"
	"regexp"
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
		{"checking", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCheck, Steps: 30, StepsTotal: 120}}, 0.25, "checking objects, 30 of 120"},
		{"checking, nothing known", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCheck, Steps: 30}}, -1, "checking objects"},
		{"more steps than announced", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCopy, Steps: 3, StepsTotal: 2}}, 1, "copying the image, 3 of 2"},
		{"making layers", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageEncapsulate, LayersDone: 1, LayersTotal: 4}}, 0.25, "making the layers, 1 of 4"},
		{"collecting", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCollect}}, -1, "looking for what nothing needs"},
		{"done", JobStatus{State: StateFinished, Result: ResultDone, StatusText: "imported"}, 1, "imported"},
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

// TestStagesHaveTexts: a stage that is not known would read as the opening of the image.
func TestStagesHaveTexts(t *testing.T) {
	source, err := os.ReadFile("../importer/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	stages := regexp.MustCompile(`\n\tStage\w+ +Stage = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(stages) < 15 {
		t.Fatalf("found only %d stages", len(stages))
	}
	for _, match := range stages {
		stage := importer.Stage(match[1])
		switch stage {
		case importer.StageReference, importer.StageOpen, importer.StageInventory: // the opening, or no job's
			continue
		}
		if text := stageText(JobStatus{Progress: importer.Progress{Stage: stage}}); text == "opening the image" {
			t.Errorf("%s has no text", stage)
		}
	}
}

func TestStatusJSON(t *testing.T) {
	text, err := json.Marshal(JobStatus{ID: 7, Type: JobImport, State: StateQueued, Image: "docker://x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"started", "finished", "result", "import", "prepared-id", "error-kind"} {
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
