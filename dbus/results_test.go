package dbus

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// someResults are a finished job's results by its type, with a value in every field that is shown.
var someResults = map[daemon.JobType]any{
	daemon.JobInit: importer.InitResult{Repository: "/r", Mode: "bare", Created: true},
	daemon.JobUnencapsulate: importer.UnencapsulateResult{
		ManifestDigest: someDigest, Commit: "c1", Ref: "os", Version: "1", VerifyText: "good\x00", LayersFetched: 2, BytesFetched: 3,
	},
	daemon.JobEncapsulate: importer.EncapsulateResult{
		Destination: "oci:/x", Commit: "c1", ManifestDigest: someDigest, ConfigDigest: someDigest, Layers: make([]importer.EncapsulatedLayer, 2), Chunking: "size", Note: "n",
	},
	daemon.JobExport: importer.ExportResult{Destination: "tar:/x", Commit: "c1", ManifestDigest: someDigest, ConfigFile: "/x.json", Size: 5, Cached: true},
	daemon.JobCopy:   importer.CopyResult{Commit: "c1", ImageRef: "r", Repository: "/r", ManifestDigest: someDigest, Layers: 3},
	daemon.JobRemove: importer.RemoveResult{
		Removed: []string{"docker://x"}, Missing: []string{"docker://y"}, Collected: &importer.PruneResult{Layers: 2, Objects: 3, Bytes: 4},
	},
	daemon.JobPrune: importer.PruneResult{DryRun: true, Images: 1, Layers: 2, Objects: 3, Bytes: 4},
	daemon.JobVerify: importer.VerifyResult{
		Images: []importer.VerifiedImage{
			{Reference: "docker://x", State: importer.StateGood}, {Reference: "docker://y", State: importer.StateDamaged},
			{Reference: "docker://z", State: importer.StateRepaired}, {Reference: "docker://u", State: importer.StateUnchecked},
			{Reference: "docker://v", State: importer.StateUnverified, Unverified: []importer.Unverified{{Reason: "r"}}},
		},
		Objects: 5, Bytes: 6, LayersFetched: 7, BytesFetched: 8,
	},
}

// newSuiteWithResults has a finished job of each type, as one that an earlier daemon left. Their
// ids are those of the types in order.
func newSuiteWithResults(t *testing.T) (s *suite, types []daemon.JobType) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "jobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	types = slices.Sorted(maps.Keys(someResults))
	for i, typ := range types {
		results, err := json.Marshal(someResults[typ])
		if err != nil {
			t.Fatal(err)
		}
		status := daemon.JobStatus{
			ID: uint64(i + 1), Type: typ, State: daemon.StateFinished, Result: daemon.ResultDone, Finished: time.Now(), Results: results,
		}
		text, err := json.Marshal(map[string]any{"status": status})
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "jobs", fmt.Sprintf("%d.json", status.ID)), string(text))
	}
	return newSuite(t, suiteOptions{noHammer: true, daemon: daemon.Config{StateDir: dir}}), types
}

func TestResultsOfOperations(t *testing.T) {
	s, types := newSuiteWithResults(t)
	conn, client := s.connect(t), s.client(t)
	for i, typ := range types {
		t.Run(string(typ), func(t *testing.T) {
			var result string
			var results map[string]godbus.Variant
			if err := conn.Object(BusName, jobPath(uint64(i+1))).Call(jobInterface+".Wait", 0).Store(&result, &results); err != nil {
				t.Fatal(err)
			}
			if len(results) == 0 {
				t.Fatal("no results")
			}
			for name, value := range results {
				if zero := reflect.Zero(reflect.TypeOf(value.Value())).Interface(); reflect.DeepEqual(value.Value(), zero) {
					t.Errorf("%s is %v", name, value)
				}
			}
			status := mustStatus(t, client, uint64(i+1))
			got := reflect.New(reflect.TypeOf(someResults[typ]))
			if err := json.Unmarshal(status.Results, got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), someResults[typ]) {
				t.Errorf("described as %+v, %v, want %+v", got.Elem(), err, someResults[typ])
			}
		})
	}
	verified := operationResults(mustStatus(t, client, uint64(slices.Index(types, daemon.JobVerify)+1)))
	if !reflect.DeepEqual(verified["unchecked"], []string{"docker://u"}) || !reflect.DeepEqual(verified["damaged"], []string{"docker://y"}) || verified["repaired"] != uint32(1) {
		t.Errorf("verified %v", verified)
	}
	jobs, err := client.Jobs(t.Context())
	if err != nil || len(jobs) != len(types) {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	for _, job := range jobs {
		if job.Results != nil {
			t.Errorf("the list of jobs has the results %s", job.Results)
		}
	}
}

func mustStatus(t *testing.T, client *Client, id uint64) daemon.JobStatus {
	t.Helper()
	status, err := client.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// TestResultsAreDescribed: the XML and the documentation have each key with its type.
func TestResultsAreDescribed(t *testing.T) {
	documented := strings.Join(strings.Fields(readText(t, documentation)), " ")
	described := strings.Join(strings.Fields(Introspection()), " ")
	for typ, value := range someResults {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		shown := operationResults(daemon.JobStatus{Type: typ, Results: raw})
		_, inXML, _ := strings.Cut(described, " "+string(typ)+": ")
		inXML, _, _ = strings.Cut(inXML, ". ")
		_, inText, _ := strings.Cut(documented, "| `"+string(typ)+"` | ")
		inText, _, _ = strings.Cut(inText, " | ")
		for name, value := range shown {
			signature := godbus.SignatureOf(value).String()
			if !strings.Contains(" "+inXML, " "+name+" "+signature) {
				t.Errorf("%s: the XML lacks %s %s: %s", typ, name, signature, inXML)
			}
			if !strings.Contains(inText, "`"+name+"` "+signature) {
				t.Errorf("%s: %s lacks %s %s: %s", typ, documentation, name, signature, inText)
			}
		}
	}
}

func TestResultsThatAreNotThere(t *testing.T) {
	for _, status := range []daemon.JobStatus{
		{Type: daemon.JobRemove}, {Type: daemon.JobPrune, Results: json.RawMessage(`[]`)}, {Type: "frobnicate", Results: json.RawMessage(`{}`)},
	} {
		if results := operationResults(status); len(results) > 0 {
			t.Errorf("%+v has %v", status, results)
		}
	}
}

func TestAnswersFitTheBus(t *testing.T) {
	_, err := describe(strings.Repeat("x", maxDescription))
	wantKind(t, err, importer.KindFailed)
	large := daemon.JobStatus{ID: 5, Results: json.RawMessage(`"` + strings.Repeat("x", maxDescription) + `"`)}
	answer, err := describeJob(large)
	if err != nil || len(answer[0].(string)) > 1000 {
		t.Errorf("a job with large results: %v", err)
	}
	large.Results = large.Results[:20]
	large.Results[19] = '"'
	if answer, err := describeJob(large); err != nil || !strings.Contains(answer[0].(string), "xxx") {
		t.Errorf("a job with results: %v", err)
	}
}

// TestLargestAnswer: an answer of the size that is let through reaches its caller, and the
// connection lives on.
func TestLargestAnswer(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	s.replace("DescribeJobs", func(*call) ([]any, error) { return describe(strings.Repeat("x", maxDescription-2)) })
	conn := s.connect(t)
	var text string
	if err := s.manage(conn, "DescribeJobs").Store(&text); err != nil || len(text) != maxDescription {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if err := s.manage(conn, "ListJobs").Err; err != nil {
		t.Error(err)
	}
}

func TestStepsOfProgress(t *testing.T) {
	for name, test := range map[string]struct {
		progress    importer.Progress
		done, total uint64
	}{
		"layers":            {importer.Progress{LayersTotal: 5, LayersDone: 2}, 2, 5},
		"objects":           {importer.Progress{Steps: 7, StepsTotal: 9}, 7, 9},
		"objects, no total": {importer.Progress{Steps: 7}, 7, 0},
		"both":              {importer.Progress{LayersTotal: 5, LayersDone: 2, Steps: 7, StepsTotal: 9}, 7, 9},
	} {
		t.Run(name, func(t *testing.T) {
			detail := progressDetail(daemon.JobStatus{Progress: test.progress})
			if detail["steps"] != test.done || detail["steps-total"] != test.total {
				t.Errorf("%v of %v", detail["steps"], detail["steps-total"])
			}
		})
	}
}

func TestCachedUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		update *importer.Update
		keys   int
	}{
		"never looked":  {nil, 0},
		"nothing newer": {&importer.Update{Reference: "docker://x"}, 0},
		"newer":         {&importer.Update{Available: true, Reference: "docker://x", Version: "2"}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			shown := imageProperties(&importer.Image{Update: test.update})["CachedUpdate"].(map[string]godbus.Variant)
			if len(shown) != test.keys {
				t.Errorf("shown as %v", shown)
			}
		})
	}
}
