package daemon

import (
	"slices"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
)

func eventManager() *Manager { return &Manager{subscriptions: map[*subscription]struct{}{}} }

func TestEventsKeepOrder(t *testing.T) {
	m := eventManager()
	events := subscribe(t, m)
	changed := func(id, bytes uint64, state JobState) Event {
		return Event{Type: JobChanged, Job: JobStatus{ID: id, State: state, Progress: importer.Progress{Bytes: bytes}}}
	}
	m.emit(Event{Type: JobNew, Job: JobStatus{ID: 1}})
	<-events // the delivery has begun, and now waits for what follows
	m.emit(Event{Type: JobNew, Job: JobStatus{ID: 2}})
	for bytes := range uint64(1000) {
		m.emit(changed(1, bytes, StateRunning))
		m.emit(changed(2, bytes, StateRunning))
	}
	m.emit(changed(1, 2000, StateCanceling))
	m.emit(changed(1, 2001, StateCanceling))
	m.emit(Event{Type: JobFinished, Job: JobStatus{ID: 1, State: StateFinished}})
	m.emit(Event{Type: PreparedRemoved, PreparedID: 9})

	last, before := await(t, events, func(e Event) bool { return e.Type == PreparedRemoved })
	if last.PreparedID != 9 {
		t.Errorf("last event %+v", last)
	}
	if len(before) > 7 {
		t.Errorf("%d events, want progress in one per job and state", len(before))
	}
	var seen []string
	for _, e := range before {
		if e.Job.ID == 1 {
			seen = append(seen, string(e.Type)+" "+string(e.Job.State))
		}
	}
	if got := slices.Compact(seen); !slices.Equal(got, []string{"job-changed running", "job-changed canceling", "job-finished finished"}) {
		t.Errorf("job 1 went through %q", got)
	}
	for _, state := range []struct {
		id    uint64
		state JobState
		want  uint64
	}{{1, StateRunning, 999}, {2, StateRunning, 999}, {1, StateCanceling, 2001}} {
		i := slices.IndexFunc(before, func(e Event) bool {
			return e.Type == JobChanged && e.Job.ID == state.id && e.Job.State == state.state && e.Job.Progress.Bytes == state.want
		})
		if i < 0 {
			t.Errorf("no event has the latest progress of job %d, %s", state.id, state.state)
		}
	}
}

func TestEventsAreNotSharedAcrossSubscribers(t *testing.T) {
	m := eventManager()
	slow, fast := subscribe(t, m), subscribe(t, m)
	m.emit(Event{Type: JobChanged, Job: JobStatus{ID: 1, State: StateRunning, StatusText: "first"}})
	if e := <-fast; e.Job.StatusText != "first" {
		t.Errorf("fast got %+v", e)
	}
	m.emit(Event{Type: JobChanged, Job: JobStatus{ID: 1, State: StateRunning, StatusText: "second"}})
	if e := <-fast; e.Job.StatusText != "second" {
		t.Errorf("fast got %+v", e)
	}
	await(t, slow, func(e Event) bool { return e.Job.StatusText == "second" })
}

func TestSubscriptionEnds(t *testing.T) {
	m := eventManager()
	events, cancel := m.Subscribe()
	m.emit(Event{Type: JobNew})
	cancel()
	cancel()
	if _, ok := <-events; ok {
		t.Error("an event came after cancel")
	}
	if len(m.subscriptions) > 0 {
		t.Error("the manager keeps the subscription")
	}
}
