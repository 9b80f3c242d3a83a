package daemon

import (
	"cmp"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Manager owns all jobs and prepared plans. Its methods may be called concurrently. It is ended by
// Shutdown.
type Manager struct {
	cfg   Config
	log   logrus.FieldLogger
	store store
	// importer gives what does the work. It can be slow, so it isn't called under mu.
	importer func() (*importer.Importer, error)

	images imageWatch

	// mu guards what follows, and every job's fields that change.
	mu            sync.Mutex
	closing       bool
	nextID        uint64
	jobs          map[uint64]*job      // all that are retained
	active        []*job               // those that are not finished, by id
	byTransaction map[transaction]*job // those of jobs
	plans         map[uint64]*plan     // prepared, by the id of the job that made them
	expired       map[uint64]bool      // ids of the plans that went last without having been discarded
	subscriptions map[*subscription]struct{}
}

// New takes up what an earlier Manager left in cfg.StateDir: the id counter, finished jobs,
// prepared plans. Jobs that it left unfinished become failed with importer.KindInterrupted. It
// fails only if the directory can't be made or read.
func New(cfg Config) (*Manager, error) {
	cfg = cfg.withDefaults()
	m := &Manager{
		cfg:           cfg,
		log:           cfg.Log,
		store:         store{dir: cfg.StateDir, log: cfg.Log},
		jobs:          map[uint64]*job{},
		byTransaction: map[transaction]*job{},
		plans:         map[uint64]*plan{},
		expired:       map[uint64]bool{},
		subscriptions: map[*subscription]struct{}{},
		importer:      cfg.Importer,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.restore(); err != nil {
		return nil, err
	}
	return m, nil
}

// Job returns a handle on a retained job. The error has importer.KindNoSuchJob.
func (m *Manager) Job(id uint64) (*Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.jobs[id]
	if !ok {
		return nil, newError(importer.KindNoSuchJob, "", "there is no job %d", id)
	}
	return &Job{m: m, job: j}, nil
}

// Jobs gives the status of all retained jobs, by id.
func (m *Manager) Jobs() []JobStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]JobStatus, 0, len(m.jobs))
	for _, j := range m.jobs {
		all = append(all, j.status)
	}
	slices.SortFunc(all, func(a, b JobStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Cancel is Job.Cancel of the job with this id.
func (m *Manager) Cancel(id uint64) error {
	j, err := m.Job(id)
	if err != nil {
		return err
	}
	return j.Cancel()
}

// Active is the number of jobs that are queued or running: none means idle.
func (m *Manager) Active() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.active)
}

// ActiveWithoutLookups is the number of jobs that are queued or running and that events tell of.
func (m *Manager) ActiveWithoutLookups() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, j := range m.active {
		if !j.work.Type.IsLookup() {
			n++
		}
	}
	return n
}

// Ping takes the lock that all work depends on, and returns. A watchdog calls it to notice a
// deadlock.
func (m *Manager) Ping() {
	m.mu.Lock()
	defer m.mu.Unlock()
}
