package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Shutdown ends the Manager: new jobs are refused with importer.KindInterrupted, queued and running
// ones are stopped and fail with it, and all are waited for. A job that is writing its image is
// left to complete that; when ctx ends it is stopped as well, and Shutdown returns ctx's error
// without waiting longer. Jobs and plans can still be read afterwards.
func (m *Manager) Shutdown(ctx context.Context) error {
	for _, j := range m.stopAll() {
		select {
		case <-j.done:
		case <-ctx.Done():
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, j := range m.active {
				j.stopped = cmp.Or(j.stopped, importer.KindInterrupted)
				j.cancel()
			}
			return fmt.Errorf("shutdown: job %d has not stopped: %w", j.id, ctx.Err())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		j.expiry.Stop()
	}
	for _, p := range m.plans {
		p.expiry.Stop()
	}
	return nil
}

// stopAll tells all jobs to stop and gives those to wait for.
func (m *Manager) stopAll() []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = true
	for _, j := range slices.Clone(m.active) {
		if j.status.Cancellable {
			m.stop(j, importer.KindInterrupted)
		}
	}
	return slices.Clone(m.active)
}
