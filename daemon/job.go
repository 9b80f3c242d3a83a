package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// work says what a job does. Jobs whose work is equal can be shared.
type work struct {
	Type JobType `json:"type"`
	// Request is the request's JSON as encoding/json writes it: equal requests have equal bytes,
	// here and in a record.
	Request json.RawMessage `json:"request"`
	// Manifest is set for an import of a stored plan: unlike the digest in the request it fetches
	// that manifest even if the name in the request now stands for another image.
	Manifest digest.Digest `json:"manifest,omitempty"`
}

func (w work) equal(other work) bool {
	return w.Type == other.Type && w.Manifest == other.Manifest && bytes.Equal(w.Request, other.Request)
}

// job is the one record that all handles on a job share. Fields that change are guarded by
// Manager.mu.
type job struct {
	id uint64
	task
	done chan struct{} // closed when finished

	status       JobStatus
	askedBy      map[uint32]bool // the users who want the job done
	transactions []transaction   // all that name the job
	holds        int             // handles whose Start has yet to be called
	announced    bool            // holds reached zero: events name the job, and it may run
	cancel       context.CancelFunc
	manifest     digest.Digest // of the image, once known
	descriptors  []*importer.Descriptor
	stopped      importer.Kind // KindCanceled or KindInterrupted once it was told to stop
	expiry       *time.Timer   // once finished
	logged       time.Time     // when progress was last logged
}

// transaction is what a user calls a job. Ids of different users have nothing to do with each
// other.
type transaction struct {
	UID uint32 `json:"uid"`
	ID  string `json:"id"`
}

// Job is one caller's handle on a job.
type Job struct {
	m     *Manager
	job   *job
	holds bool // guarded by m.mu
}

// ID is the job's number, from 1, never used again while the state directory lives.
func (h *Job) ID() uint64 { return h.job.id }

// Status is the job's present status, also after it is no longer retained.
func (h *Job) Status() JobStatus {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.job.status
}

// Start says that the caller who asked for the job knows its id. Everybody who got a handle from a
// method that starts a job must call it, whether or not the reply could be delivered. A job that
// several callers share before it was started waits for all of them. Calling it again does nothing.
func (h *Job) Start() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if !h.holds {
		return
	}
	h.holds = false
	h.job.holds--
	if h.job.holds == 0 {
		h.m.announce(h.job)
	}
}

// Wait returns the last status when the job has finished, or the present one with ctx's error when
// ctx ends first.
func (h *Job) Wait(ctx context.Context) (JobStatus, error) {
	select {
	case <-h.job.done:
		return h.Status(), nil
	case <-ctx.Done():
		return h.Status(), ctx.Err()
	}
}

// Withdraw says that a user no longer wants the job. When nobody who asked for it does, it is
// canceled; until then it goes on. asked is false when the user has not asked for the job, or has
// withdrawn before: nothing happens then. The errors are those of Cancel.
func (h *Job) Withdraw(uid uint32) (asked bool, err error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if !h.job.askedBy[uid] {
		return false, nil
	}
	if len(h.job.askedBy) > 1 && h.job.status.Cancellable {
		delete(h.job.askedBy, uid)
		return true, nil
	}
	return true, h.m.cancel(h.job)
}

// Cancel asks the job to stop, whoever wants it. A queued job is finished at once; a running one
// will be when it has stopped, which Wait tells; of one that is being canceled already nothing more
// is asked. The error has importer.KindNotCancellable: the job has finished, or it is writing the
// image, which takes a moment only.
func (h *Job) Cancel() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.cancel(h.job)
}

// cancel is Job.Cancel. m.mu is held.
func (m *Manager) cancel(j *job) error {
	switch s := j.status; {
	case s.State == StateFinished:
		return newError(importer.KindNotCancellable, "", "cannot cancel job %d: it has finished", s.ID)
	case s.State == StateCanceling:
		return nil
	case !s.Cancellable:
		return newError(importer.KindNotCancellable, "",
			"cannot cancel job %d: it is writing the image to the repository", s.ID)
	}
	m.stop(j, importer.KindCanceled)
	return nil
}
