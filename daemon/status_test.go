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
			Stage: stage, Fraction: 0.439, LayersTotal: 10, LayersCached: 3, LayersDone: 3, Bytes: 439, BytesTotal: 1000, BytesCached: 500,
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
		{"queued", JobStatus{State: StateQueued, Progress: importer.Progress{Fraction: -1}}, -1, "waiting"},
		{"opening", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageOpen, Fraction: -1}}, -1, "opening the image"},
		{"manifest", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageManifest, Fraction: -1}}, -1, "reading the manifest"},
		{"planned", at(importer.StagePlan), 0.439, "comparing layers"},
		{"fetching", at(importer.StageFetch), 0.439, "fetching 3/7 layers, 43 %"},
		{"nothing known", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageFetch, Fraction: -1}}, -1, "fetching 0/0 layers, 0 %"},
		{"merging", at(importer.StageMerge), 0.439, "merging 10 layers"},
		{"landing", at(importer.StageLand), 0.439, "writing the image"},
		{"canceling", with(at(importer.StageFetch), func(s *JobStatus) { s.State = StateCanceling }), 0.439, "canceling"},
		{"checking", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCheck, Fraction: 0.25, Steps: 30, StepsTotal: 120}}, 0.25, "checking objects, 30 of 120"},
		{"checking, nothing known", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCheck, Fraction: -1, Steps: 30}}, -1, "checking objects"},
		{"making layers", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageEncapsulate, Fraction: 0.25, LayersDone: 1, LayersTotal: 4}}, 0.25, "making the layers, 1 of 4"},
		{"collecting", JobStatus{State: StateRunning, Progress: importer.Progress{Stage: importer.StageCollect, Fraction: -1}}, -1, "collecting garbage"},
		{"done", JobStatus{State: StateFinished, Result: ResultDone, StatusText: "imported"}, 1, "imported"},
		{"canceled", JobStatus{State: StateFinished, Result: ResultCanceled, Progress: importer.Progress{Fraction: 0.5}}, 0.5, "canceled"},
		{"failed", JobStatus{State: StateFinished, Result: ResultFailed, Progress: importer.Progress{Fraction: -1}, ErrorMessage: "open: it\n said: no\n"}, -1, "failed: open: it said: no"},
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
