package daemon

import (
	"cmp"
	"slices"
	"time"
)

// retain keeps a finished job for a time. m.mu is held, as in all that follows.
func (m *Manager) retain(j *job, remaining time.Duration) {
	j.expiry = time.AfterFunc(remaining, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.forget(j)
	})
}

// trim forgets the jobs that finished first, until there are no more than RetainMax.
func (m *Manager) trim() {
	var finished []*job
	for _, j := range m.jobs {
		if j.status.State == StateFinished {
			finished = append(finished, j)
		}
	}
	slices.SortFunc(finished, func(a, b *job) int {
		return cmp.Or(a.status.Finished.Compare(b.status.Finished), cmp.Compare(a.id, b.id))
	})
	for _, j := range finished[:max(0, len(finished)-m.cfg.RetainMax)] {
		m.forget(j)
	}
}

// forget removes a finished job with its record and transactions. Handles on it go on working.
func (m *Manager) forget(j *job) {
	if m.jobs[j.id] != j {
		return
	}
	if j.expiry != nil {
		j.expiry.Stop()
	}
	delete(m.jobs, j.id)
	for _, transaction := range j.transactions {
		delete(m.byTransaction, transaction)
	}
	m.store.removeJob(j.id)
	m.emitJob(JobRemoved, j)
}
