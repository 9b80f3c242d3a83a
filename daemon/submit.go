package daemon

import (
	"slices"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Import prepares and imports an image in one job. Besides the kinds of refusals
// (importer.KindInterrupted while shutting down, KindBusy, KindTooManyJobs, KindInvalidOption for a
// transaction id that was used for something else, KindNotAvailable) no error comes from here: what
// goes wrong with the image is the job's result. The caller must call Start on the job.
func (m *Manager) Import(req importer.Request, opts JobOptions, caller Caller) (*Job, error) {
	t, err := importTask(req, nil)
	if err != nil {
		return nil, err
	}
	return m.submit(t, opts, caller)
}

// Prepare stores the plan of an import; the status of the finished job has its PreparedID. The rest
// is as for Import.
func (m *Manager) Prepare(req importer.Request, opts JobOptions, caller Caller) (*Job, error) {
	t, err := prepareTask(req)
	if err != nil {
		return nil, err
	}
	return m.submit(t, opts, caller)
}

// ImportPrepared imports what the plan says, whatever the image's name stands for by now. The plan
// stays. Besides the errors of Import there are importer.KindNoSuchPrepared and
// KindPreparedExpired.
func (m *Manager) ImportPrepared(id uint64, opts JobOptions, caller Caller) (*Job, error) {
	p, err := m.Prepared(id)
	if err != nil {
		return nil, err
	}
	t, err := importTask(p.Plan.Request, &p.Plan)
	if err != nil {
		return nil, err
	}
	return m.submit(t, opts, caller)
}

// submit finds the job that does the task's work already, or makes a new one.
func (m *Manager) submit(t task, opts JobOptions, caller Caller) (*Job, error) {
	if _, err := m.worker(t); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	named := transaction{caller.UID, opts.TransactionID}
	j, err := m.sameTransaction(t.work, named)
	if err != nil {
		return nil, err
	}
	joined := j != nil
	if j == nil {
		j = m.sameWork(t.work)
		joined = j != nil
		if err := m.admit(t, caller.UID, j, opts); err != nil {
			return nil, err
		}
		if j == nil {
			if j, err = m.newJob(t, caller); err != nil {
				return nil, err
			}
		}
		m.addTransaction(j, named)
		m.saveJob(j)
	}
	if joined {
		closeDescriptors(caller.Descriptors)
	}
	j.askedBy[caller.UID] = true
	return m.hold(j), nil
}

// worker gives what does a task's work, nil for a task that needs none.
func (m *Manager) worker(t task) (*importer.Importer, error) {
	if t.makesRepository {
		return nil, nil
	}
	return m.importer()
}

// sameTransaction gives the job of the transaction, or nil.
func (m *Manager) sameTransaction(w work, named transaction) (*job, error) {
	j := m.byTransaction[named]
	if j != nil && !j.work.equal(w) {
		return nil, newError(importer.KindInvalidOption, "use a new id for each request",
			"transaction id %q belongs to job %d, which does something else", named.ID, j.id)
	}
	return j, nil
}

// sameWork gives a job that will do w for whoever asks, or nil.
func (m *Manager) sameWork(w work) *job {
	for _, j := range m.active {
		if j.status.State != StateCanceling && j.work.equal(w) {
			return j
		}
	}
	return nil
}

// admit refuses what may not be queued: a new job if j is nil, another caller of j otherwise.
func (m *Manager) admit(t task, uid uint32, j *job, opts JobOptions) error {
	if m.closing {
		return interrupted("the daemon is stopping")
	}
	if opts.NoQueue && (j == nil || j.status.State == StateQueued) {
		ahead := slices.DeleteFunc(slices.Clone(m.active), func(other *job) bool { return j != nil && other.id >= j.id })
		if way := m.inTheWay(t, uid, ahead); way != nil {
			return newError(importer.KindBusy, "wait for it, or ask without no-queue", "%s is %s", way[0].name(), way[0].status.State)
		}
	}
	if j == nil {
		return m.admitNew(uid)
	}
	return nil
}

// admitNew refuses a new job when there are too many. Of MaxJobs no user but root gets more than
// half.
func (m *Manager) admitNew(uid uint32) error {
	const hint = "ask again when some have finished"
	if len(m.active) >= m.cfg.MaxJobs {
		return newError(importer.KindTooManyJobs, hint,
			"%d jobs are queued or running", len(m.active))
	}
	own := 0
	for _, j := range m.active {
		if j.status.CallerUID == uid {
			own++
		}
	}
	if uid != 0 && own >= m.cfg.MaxJobs/2 {
		return newError(importer.KindTooManyJobs, hint,
			"%d jobs of user %d are queued or running", own, uid)
	}
	return nil
}

// newJob makes a queued job that nobody holds yet.
func (m *Manager) newJob(t task, caller Caller) (*job, error) {
	id := m.nextID
	if err := m.store.saveCounter(id + 1); err != nil {
		return nil, newError(importer.KindFailed, "", "cannot record a new job: %w", err)
	}
	m.nextID++
	j := &job{
		id:   id,
		task: t,
		done: make(chan struct{}),

		askedBy: map[uint32]bool{},

		descriptors: caller.Descriptors,

		status: JobStatus{
			ID:          id,
			Type:        t.work.Type,
			Image:       shorten(t.subject, maxSubject),
			CallerUID:   caller.UID,
			CallerUnit:  caller.Unit,
			State:       StateQueued,
			Cancellable: true,
			Progress:    importer.Progress{Fraction: -1},
		},
	}
	j.status.StatusText = statusText(j.status)
	m.jobs[id] = j
	m.active = append(m.active, j)
	return j, nil
}

// addTransaction lets an id name the job too.
func (m *Manager) addTransaction(j *job, named transaction) {
	if named.ID == "" {
		return
	}
	m.byTransaction[named] = j
	j.transactions = append(j.transactions, named)
	if j.status.TransactionID == "" && named.UID == j.status.CallerUID {
		j.status.TransactionID = named.ID
	}
}

// hold gives out a handle, whose Start the job waits for if it isn't started.
func (m *Manager) hold(j *job) *Job {
	if j.announced {
		return &Job{m: m, job: j}
	}
	j.holds++
	return &Job{m: m, job: j, holds: true}
}

func interrupted(cause string) *importer.Error {
	return newError(importer.KindInterrupted, "ask again: layers that are complete are kept", "%s", cause)
}

// closeDescriptors closes what a caller has opened, which may take as long as the file system that
// it is on.
func closeDescriptors(descriptors []*importer.Descriptor) {
	if len(descriptors) == 0 {
		return
	}
	go func() {
		for _, d := range descriptors {
			d.Close()
		}
	}()
}
