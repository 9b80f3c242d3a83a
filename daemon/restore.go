package daemon

import (
	"errors"
	"fmt"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// restore loads the state directory. m.mu is held.
func (m *Manager) restore() error {
	if err := m.store.open(); err != nil {
		return err
	}
	m.nextID = max(m.store.loadCounter(), 1)
	if err := load(m.store, plansDir, m.restorePlan); err != nil {
		return err
	}
	if err := load(m.store, jobsDir, m.restoreJob); err != nil {
		return err
	}
	for _, j := range m.jobs {
		m.retain(j, remaining(j.status.Finished.Add(m.cfg.Retain), m.cfg.Retain))
	}
	m.trim()
	return nil
}

func (m *Manager) restorePlan(id uint64, p Prepared) error {
	if p.ID != id {
		return fmt.Errorf("it is the record of prepared import %d", p.ID)
	}
	m.nextID = max(m.nextID, id+1)
	m.addPlan(p, remaining(p.Expires, m.cfg.PreparedTTL))
	return nil
}

func (m *Manager) restoreJob(id uint64, record jobRecord) error {
	if record.Status.ID != id {
		return fmt.Errorf("it is the record of job %d", record.Status.ID)
	}
	if err := checkTexts(record.Status); err != nil {
		return err
	}
	m.nextID = max(m.nextID, id+1)
	j := &job{
		id:           id,
		task:         task{work: record.Work},
		done:         make(chan struct{}),
		status:       record.Status,
		askedBy:      map[uint32]bool{},
		transactions: record.transactions(),
		announced:    true,
	}
	close(j.done)
	m.jobs[id] = j
	for _, transaction := range j.transactions {
		m.byTransaction[transaction] = j
	}
	if j.status.State != StateFinished {
		j.stopped = importer.KindInterrupted
		j.end("", errors.New("the daemon that ran it is gone"))
		m.logFinished(j, "")
		m.saveJob(j)
	}
	return nil
}

// checkTexts refuses a status with texts or results that are longer than any that a job has: they
// would be in answers to everybody.
func checkTexts(s JobStatus) error {
	for _, text := range []struct {
		name          string
		length, limit int
	}{
		{"image", len(s.Image), maxSubject},
		{"transaction id", len(s.TransactionID), maxSubject},
		{"error message", len(s.ErrorMessage), maxMessage},
		{"status text", len(s.StatusText), maxStatusText},
		{"results", len(s.Results), maxResults},
	} {
		if text.length > text.limit {
			return fmt.Errorf("%w: its %s has %d bytes; at most %d are taken",
				errTooLarge, text.name, text.length, text.limit)
		}
	}
	return nil
}

// remaining is the time until deadline, and no more than limit: the clock may have been set back
// since.
func remaining(deadline time.Time, limit time.Duration) time.Duration {
	return min(time.Until(deadline), limit)
}
