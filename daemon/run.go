package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// announce lets events name the job, and lets it run. m.mu is held here and in all functions below
// that don't take it.
func (m *Manager) announce(j *job) {
	j.announced = true
	m.emitJob(JobNew, j)
	if j.status.State == StateFinished {
		// It was canceled before, and may even be forgotten.
		m.emitJob(JobFinished, j)
		if m.jobs[j.id] != j {
			m.emitJob(JobRemoved, j)
		}
		return
	}
	m.schedule()
}

func (m *Manager) start(j *job) {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.status.State = StateRunning
	j.status.Started = time.Now()
	j.logged = j.status.Started
	j.status.Progress.Stage = j.stage
	j.status.WaitsFor = ""
	m.changed(j)
	m.saveJob(j)
	m.logStarted(j)
	go m.run(ctx, j)
}

// run is a job's goroutine. It ends right after the job's done is closed.
func (m *Manager) run(ctx context.Context, j *job) {
	m.noticeImages()
	out, err := m.execute(ctx, j)
	m.images.mu.Lock()
	defer m.images.mu.Unlock()
	out.images = m.lookAtImages(out.repaired)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish(j, out, err)
}

// execute does the work of a job, and turns a panic of it into an error.
func (m *Manager) execute(ctx context.Context, j *job) (out outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.logPanic(j, p, debug.Stack())
			out = outcome{}
			err = newError(importer.KindFailed, "please report it; the log has the details", "internal error: %v", p)
		}
	}()
	im, err := m.worker(j.task)
	if err != nil {
		return outcome{}, err
	}
	return j.run(ctx, m, im, j)
}

// progress takes note of a running job's progress. It doesn't wait for anybody.
func (m *Manager) progress(j *job, p importer.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.status.Progress = p
	j.status.WaitsFor = ""
	if p.Stage == importer.StageWait {
		j.status.WaitsFor = m.atWork(j)
	}
	switch p.Stage {
	case importer.StageLand:
		// What is being written is written to its end.
		j.status.Cancellable = false
	case importer.StageCollect:
		// It may come after the landing that is the job's purpose.
	default:
		// A repair lands one layer and goes on to the next.
		j.status.Cancellable = j.status.State == StateRunning
	}
	m.changed(j)
	if now := time.Now(); now.Sub(j.logged) >= progressLogInterval {
		j.logged = now
		m.jobLog(j).Infof("%s: %s", oneJob(j), j.status.StatusText)
	}
}

// saveJob records a job's state, for the next instance.
func (m *Manager) saveJob(j *job) {
	m.store.saveJob(newRecord(j))
}

// changed tells everybody that a job that isn't finished has changed.
func (m *Manager) changed(j *job) {
	j.status.StatusText = statusText(j.status)
	m.emitJob(JobChanged, j)
}

// stop tells a job that isn't finished to stop, for the reason that kind gives.
func (m *Manager) stop(j *job, kind importer.Kind) {
	j.stopped = kind
	if j.status.State == StateQueued {
		m.finish(j, outcome{}, errors.New("stopped while queued"))
		return
	}
	j.status.State = StateCanceling
	j.status.Cancellable = false
	m.changed(j)
	m.saveJob(j)
	j.cancel()
}

// finish brings a job to its end: done if err is nil, however late it was told to stop.
func (m *Manager) finish(j *job, out outcome, err error) {
	if j.cancel != nil {
		j.cancel()
	}
	j.run = nil // and with it the request's plan
	closeDescriptors(j.descriptors)
	j.descriptors = nil
	j.status.Import, j.status.Results = out.result, m.keptResults(j, out.results)
	if out.plan != nil {
		j.status.PreparedID = j.id
		m.keepPlan(j.id, *out.plan)
	}
	j.end(out.text, err)
	m.active = slices.DeleteFunc(m.active, func(other *job) bool { return other == j })
	m.logFinished(j, out.record)
	m.saveJob(j)
	m.emitJob(JobFinished, j)
	m.emitImages(out.images)
	if j.transient {
		m.forget(j)
	} else {
		m.retain(j, m.cfg.Retain)
		m.trim()
	}
	m.schedule()
	close(j.done)
}

// keptResults gives the results of a job, unless they are too large to be kept for those who ask
// later.
func (m *Manager) keptResults(j *job, results json.RawMessage) json.RawMessage {
	if j.transient || len(results) <= maxResults {
		return results
	}
	m.jobLog(j).Warnf("the results of the job have %d bytes and are not kept; at most %d are",
		len(results), maxResults)
	return nil
}

// end sets the status of a job that has come to its end. The text is for one that succeeded.
func (j *job) end(text string, err error) {
	s := &j.status
	s.State, s.Cancellable, s.Finished = StateFinished, false, time.Now()
	s.Progress.Running, s.WaitsFor = nil, ""
	switch {
	case err == nil:
		s.Result, s.StatusText = ResultDone, shorten(text, maxStatusText)
	case j.stopped == importer.KindCanceled:
		s.Result, s.ErrorKind, s.ErrorMessage = ResultCanceled, j.stopped, fmt.Sprintf("job %d was canceled", j.id)
	case j.stopped == importer.KindInterrupted:
		s.Result, s.ErrorKind = ResultFailed, j.stopped
		s.ErrorMessage = interrupted("the daemon stopped before the job was done").Error()
	default:
		s.Result, s.ErrorKind = ResultFailed, importer.KindOf(err)
		s.ErrorMessage = shorten(err.Error(), maxMessage)
	}
	s.StatusText = statusText(*s)
}
