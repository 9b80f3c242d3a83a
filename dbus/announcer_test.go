package dbus

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// emitted is a signal and when it was emitted.
type emitted struct {
	at     time.Time
	path   godbus.ObjectPath
	signal string
	values []any
}

// announceAll runs an announcer over the events that feed sends, in a world of its own time.
func announceAll(t *testing.T, feed func(chan<- daemon.Event)) []emitted {
	t.Helper()
	var signals []emitted
	synctest.Test(t, func(*testing.T) {
		events, stop, ended := make(chan daemon.Event), make(chan struct{}), make(chan struct{})
		a := newAnnouncer(func() int { return 0 }, nil, func(path godbus.ObjectPath, signal string, values ...any) {
			signals = append(signals, emitted{time.Now(), path, signal, values})
		}, func(string) {})
		go func() {
			defer close(ended)
			a.run(events, stop, func() {})
		}()
		feed(events)
		close(stop)
		<-ended
	})
	return signals
}

func running(id uint64, bytes uint64) daemon.JobStatus {
	return daemon.JobStatus{ID: id, Type: daemon.JobImport, State: daemon.StateRunning,
		Progress:   importer.Progress{Stage: importer.StageFetch, Bytes: bytes, BytesTotal: 1000},
		StatusText: fmt.Sprintf("%d bytes", bytes)}
}

func TestProgressIsCalm(t *testing.T) {
	const job = 7
	signals := announceAll(t, func(events chan<- daemon.Event) {
		status := running(job, 0)
		events <- daemon.Event{Type: daemon.JobNew, Job: status}
		for n := range 1000 { // ten seconds of a change every 10 ms
			time.Sleep(10 * time.Millisecond)
			events <- daemon.Event{Type: daemon.JobChanged, Job: running(job, uint64(n+1))}
		}
		time.Sleep(progressInterval) // the last one of a burst comes, too
		events <- daemon.Event{Type: daemon.JobChanged, Job: running(job, 1001)}
		time.Sleep(time.Millisecond)
		status = running(job, 1002)
		status.State, status.Result = daemon.StateFinished, daemon.ResultDone
		events <- daemon.Event{Type: daemon.JobFinished, Job: status}
	})
	var changes []emitted
	for _, s := range signals {
		if s.signal == propertiesChanged {
			changes = append(changes, s)
		}
	}
	if len(changes) < 45 || len(changes) > 53 {
		t.Errorf("%d signals in ten seconds", len(changes))
	}
	for i := 1; i < len(changes)-1; i++ {
		if gap := changes[i].at.Sub(changes[i-1].at); gap < progressInterval {
			t.Errorf("signal %d comes after %s", i, gap)
		}
	}
	last := changes[len(changes)-1].values[1].(map[string]godbus.Variant)
	if last["State"].Value() != "finished" || last["StatusText"].Value() != "1002 bytes" || last["Result"].Value() != "done" {
		t.Errorf("the last signal tells %v", last)
	}
	if _, told := last["Id"]; told {
		t.Errorf("the last signal tells what never changes: %v", last)
	}
	if end := signals[len(signals)-1]; end.signal != managerInterface+".JobFinished" || end.path != rootPath {
		t.Errorf("the last signal is %+v", end)
	}
}

func TestLastChangeOfABurstIsTold(t *testing.T) {
	signals := announceAll(t, func(events chan<- daemon.Event) {
		events <- daemon.Event{Type: daemon.JobNew, Job: running(1, 0)}
		events <- daemon.Event{Type: daemon.JobNew, Job: running(2, 0)}
		for n := range uint64(5) {
			events <- daemon.Event{Type: daemon.JobChanged, Job: running(1, n)}
			events <- daemon.Event{Type: daemon.JobChanged, Job: running(2, n+100)}
		}
		time.Sleep(time.Second)
	})
	told := make(map[godbus.ObjectPath]any)
	for _, s := range signals {
		if s.signal == propertiesChanged {
			told[s.path] = s.values[1].(map[string]godbus.Variant)["StatusText"].Value()
		}
	}
	if len(signals) != 6 || told[jobPath(1)] != "4 bytes" || told[jobPath(2)] != "104 bytes" {
		t.Errorf("%d signals, last told are %v", len(signals), told)
	}
}

func TestEventsUnderWayAtTheEndAreTold(t *testing.T) {
	const jobs = 50
	signals := announceAll(t, func(events chan<- daemon.Event) {
		go func() {
			for id := range uint64(jobs) {
				events <- daemon.Event{Type: daemon.JobFinished, Job: daemon.JobStatus{ID: id}}
			}
		}()
	})
	finished := 0
	for _, s := range signals {
		if s.signal == managerInterface+".JobFinished" {
			finished++
		}
	}
	if finished != jobs {
		t.Errorf("%d of %d jobs were told", finished, jobs)
	}
}

func TestEventsAndTheirSignals(t *testing.T) {
	failed := daemon.JobStatus{ID: 3, State: daemon.StateFinished, Result: daemon.ResultFailed,
		ErrorKind: importer.KindNetwork, ErrorMessage: "fetch: broke\x00 off"}
	signals := announceAll(t, func(events chan<- daemon.Event) {
		events <- daemon.Event{Type: daemon.JobFinished, Job: failed} // of a job that was never new here
		events <- daemon.Event{Type: daemon.JobRemoved, Job: failed}
		events <- daemon.Event{Type: daemon.PreparedRemoved, PreparedID: 4}
		events <- daemon.Event{Type: daemon.ImagesChanged}
	})
	var got []string
	for _, s := range signals {
		if s.signal != propertiesChanged {
			got = append(got, fmt.Sprint(s.path, " ", s.signal, s.values))
		} else if _, told := s.values[1].(map[string]godbus.Variant)["Id"]; told {
			t.Errorf("what never changes is told: %v", s.values)
		}
	}
	prefix := "/org/ostree/import1 org.ostree.import1.Manager."
	want := []string{
		prefix + "JobFinished[3 /org/ostree/import1/job/_3 failed org.ostree.import1.Error.Network fetch: broke\ufffd off]",
		prefix + "JobRemoved[3 /org/ostree/import1/job/_3]",
		"/org/ostree/import1 org.freedesktop.DBus.ObjectManager.InterfacesRemoved[/org/ostree/import1/job/_3 [org.ostree.import1.Job]]",
		prefix + "PreparedRemoved[4 /org/ostree/import1/prepared/_4]",
		prefix + "ImagesChanged[[] [] []]",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("emitted\n%q, want\n%q", got, want)
	}
}

func TestChangedImagesAreTold(t *testing.T) {
	var signals []emitted
	image := importer.Image{Reference: "docker://x", SizeUnique: 5, Update: &importer.Update{Available: true, Version: "2"}}
	a := newAnnouncer(func() int { return 0 },
		func() map[string]properties { return map[string]properties{"docker://x": imageProperties(&image)} },
		func(path godbus.ObjectPath, signal string, values ...any) {
			signals = append(signals, emitted{path: path, signal: signal, values: values})
		}, func(string) {})
	names := []string{"docker://x", "docker://gone/since"}
	a.announce(daemon.Event{Type: daemon.ImagesChanged, Images: daemon.ImageChanges{Changed: names}}, time.Now())
	if len(signals) != 2 || signals[0].path != imagePath("docker://x") || signals[0].signal != propertiesChanged {
		t.Fatalf("signals %+v", signals)
	}
	told := signals[0].values[1].(map[string]godbus.Variant)
	if update, _ := told["CachedUpdate"].Value().(map[string]godbus.Variant); update["version"].Value() != "2" {
		t.Errorf("told is %v", told)
	}
	if _, isTold := told["SizeUnique"]; isTold {
		t.Error("SizeUnique is told for one image, but not for those that share its layers")
	}
	if last := signals[1]; last.signal != managerInterface+".ImagesChanged" || !reflect.DeepEqual(last.values[1], names) {
		t.Errorf("the last signal is %+v", last)
	}
}
