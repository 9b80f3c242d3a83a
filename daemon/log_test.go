package daemon

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestLog(t *testing.T) {
	f := newFixture(t)
	manifest := f.registry.add(t, "example.com/a", "a")
	ask := JobOptions{TransactionID: "t1"}
	caller := Caller{UID: 1000, Unit: "timer.service"}
	tests := []struct {
		name    string
		run     func() *Job
		message string
		line    string
		digest  digest.Digest
		started bool
	}{
		{"failed", func() *Job {
			j := started(t)(f.Import(request("example.com/missing"), ask, caller))
			finished(t, j, ResultFailed)
			return j
		}, messageFailed, "import of docker://example.com/missing failed: open: ", "", true},
		{"canceled", func() *Job {
			j, err := f.Import(request("example.com/b"), JobOptions{}, caller)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Cancel(); err != nil {
				t.Error(err)
			}
			return j
		}, messageCanceled, "import of docker://example.com/b was canceled", "", false},
		{"prepared", func() *Job {
			j := started(t)(f.Prepare(request("example.com/a"), JobOptions{}, caller))
			finished(t, j, ResultDone)
			return j
		}, messagePrepared, "prepared docker://example.com/a, 2.0 KB to fetch, 0 of 1 layer present", manifest, true},
		{"succeeded", func() *Job {
			j := started(t)(f.Import(request("example.com/a"), JobOptions{}, caller))
			finished(t, j, ResultDone)
			return j
		}, messageSucceeded, "imported docker://example.com/a, 2.0 KB fetched, 0 of 1 layer present, commit ", manifest, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.log.Reset()
			j := tt.run()
			record := func(message string) *logrus.Entry {
				all := f.log.AllEntries()
				i := slices.IndexFunc(all, func(e *logrus.Entry) bool { return e.Data["message-id"] == message })
				if i < 0 {
					return nil
				}
				return all[i]
			}
			if got := record(messageStarted) != nil; got != tt.started {
				t.Errorf("start logged: %t", got)
			}
			end := record(tt.message)
			if end == nil {
				t.Fatal("the end is not logged")
			}
			if !strings.HasPrefix(end.Message, tt.line) || strings.Contains(end.Message, "\n") {
				t.Errorf("the record is %q, want a line that begins with %q", end.Message, tt.line)
			}
			want := logrus.Fields{
				"job-id": j.ID(), "job-type": j.Status().Type, "image": j.Status().Image,
				"caller-uid": uint32(1000), "caller-unit": "timer.service",
			}
			if tt.digest != "" {
				want["manifest-digest"] = tt.digest
			}
			if id := j.Status().TransactionID; id != "" {
				want["transaction-id"] = id
			}
			for key, value := range want {
				if end.Data[key] != value {
					t.Errorf("%s = %v, want %v", key, end.Data[key], value)
				}
			}
		})
	}
}

func TestProgressIsLoggedCalmly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.registry.add(t, "example.com/a", "a")
		held := f.registry.block(t, "open example.com/a")
		a := f.startImport(t, "example.com/a")
		<-held.reached
		f.log.Reset()
		for range 100 {
			time.Sleep(time.Second)
			f.progress(a.job, importer.Progress{Stage: importer.StageFetch, LayersTotal: 1})
		}
		if n := len(f.log.AllEntries()); n != 6 {
			t.Errorf("%d records in 100 seconds, want one each 15", n)
		}
		held.release()
		finished(t, a, ResultDone)
	})
}
