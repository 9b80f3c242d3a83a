package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// slots is how many jobs of a type run at once: imports change the repository and share its bandwidth, prepares mostly
// wait for a registry.
func slots(typ JobType) int {
	if typ == JobPrepare {
		return 4
	}
	return 1
}

// announce lets events name the job, and lets it run. m.mu is held here and in all functions below that don't
// take it.
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

// schedule starts the queued jobs for which there are slots, in the order of their ids.
func (m *Manager) schedule() {
	if m.closing {
		return
	}
	free := map[JobType]int{JobImport: slots(JobImport), JobPrepare: slots(JobPrepare)}
	for _, j := range m.active {
		if j.status.State != StateQueued {
			free[j.work.Type]--
		}
	}
	for _, j := range m.active {
		if j.status.State == StateQueued && j.announced && free[j.work.Type] > 0 {
			free[j.work.Type]--
			m.start(j)
		}
	}
}

func (m *Manager) start(j *job) {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.status.State = StateRunning
	j.status.Started = time.Now()
	j.logged = j.status.Started
	j.status.Progress.Stage = importer.StageOpen
	m.changed(j)
	m.saveJob(j)
	m.logStarted(j)
	go m.run(ctx, j)
}

// outcome is what a job that succeeded has to show.
type outcome struct {
	result *importer.Result // of an import
	plan   *importer.Plan   // of a prepare
}

// run is a job's goroutine. It ends right after the job's done is closed.
func (m *Manager) run(ctx context.Context, j *job) {
	out, err := m.execute(ctx, j)
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
	im, err := m.importer()
	if err != nil {
		return outcome{}, err
	}
	prepared, err := prepare(ctx, im, j)
	if err != nil {
		return outcome{}, err
	}
	defer m.closeSource(j, prepared)
	plan := prepared.Plan()
	m.planned(j, plan)
	if j.work.Type == JobPrepare {
		return outcome{plan: &plan}, nil
	}
	result, err := prepared.Import(ctx, func(p importer.Progress) { m.progress(j, p) })
	if err != nil {
		return outcome{}, err
	}
	return outcome{result: result}, nil
}

func prepare(ctx context.Context, im *importer.Importer, j *job) (*importer.Prepared, error) {
	if j.plan != nil {
		return im.Resume(*j.plan), nil
	}
	return im.Prepare(ctx, j.work.Request)
}

// closeSource ends a prepared import. The image is complete by then, or an error says why it isn't: a source that
// doesn't close well changes neither.
func (m *Manager) closeSource(j *job, prepared *importer.Prepared) {
	if err := prepared.Close(); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.jobLog(j).WithError(err).Warn("cannot close the image's source")
	}
}

// planned takes note of what a running job is going to do.
func (m *Manager) planned(j *job, plan importer.Plan) {
	p := importer.Progress{
		Stage:       importer.StagePlan,
		BytesTotal:  plan.BytesToFetch,
		BytesCached: plan.BytesTotal - plan.BytesToFetch,
	}
	distinct := map[digest.Digest]bool{}
	for _, layer := range plan.Layers {
		distinct[layer.Digest] = true
	}
	p.LayersTotal = len(distinct)
	p.LayersCached = len(distinct) - plan.LayersToFetch
	m.mu.Lock()
	j.manifest = plan.ManifestDigest
	m.mu.Unlock()
	m.progress(j, p)
}

// progress takes note of a running job's progress. It doesn't wait for anybody.
func (m *Manager) progress(j *job, p importer.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.status.Progress = p
	if p.Stage == importer.StageLand {
		// There is no way back from here.
		j.status.Cancellable = false
	}
	m.changed(j)
	if now := time.Now(); now.Sub(j.logged) >= progressLogInterval {
		j.logged = now
		m.jobLog(j).Info(j.status.StatusText)
	}
}

// saveJob records a job's state, for the next instance.
func (m *Manager) saveJob(j *job) {
	m.store.saveJob(jobRecord{Status: j.status, Work: j.work, Transactions: j.transactions})
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
	j.plan = nil
	j.status.Import = out.result
	if out.plan != nil {
		j.status.PreparedID = j.id
		m.keepPlan(j.id, *out.plan)
	}
	j.end(err)
	m.active = slices.DeleteFunc(m.active, func(other *job) bool { return other == j })
	m.logFinished(j)
	m.saveJob(j)
	m.emitJob(JobFinished, j)
	if out.result != nil && !out.result.AlreadyPresent && !j.work.Request.NoRef {
		m.emit(Event{Type: ImagesChanged})
	}
	m.retain(j, m.cfg.Retain)
	m.trim()
	m.schedule()
	close(j.done)
}

// end sets the status of a job that has come to its end.
func (j *job) end(err error) {
	s := &j.status
	s.State, s.Cancellable, s.Finished = StateFinished, false, time.Now()
	s.Progress.Running = nil
	switch {
	case err == nil:
		s.Result = ResultDone
	case j.stopped == importer.KindCanceled:
		s.Result, s.ErrorKind, s.ErrorMessage = ResultCanceled, j.stopped, fmt.Sprintf("job %d was canceled", j.id)
	case j.stopped == importer.KindInterrupted:
		s.Result, s.ErrorKind = ResultFailed, j.stopped
		s.ErrorMessage = interrupted("the daemon stopped before the job was done").Error()
	default:
		s.Result, s.ErrorKind, s.ErrorMessage = ResultFailed, importer.KindOf(err), err.Error()
	}
	s.StatusText = statusText(*s)
}
