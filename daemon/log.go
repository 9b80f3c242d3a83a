package daemon

import (
	"time"

	"github.com/sirupsen/logrus"
)

// Ids of the journal messages about jobs, for `journalctl MESSAGE_ID=…` and message catalogs.
const (
	messageStarted   = "b8428bad344f4384abf3b79d9bf8a1e7"
	messageSucceeded = "0a68cc206360423694a378670a7a6e11"
	messageFailed    = "e22eeb3dd1bb4f08b37ffaa8b586fd00"
	messageCanceled  = "b1144f0af5c54fa8a953ef3cb9cc7b18"
	messagePrepared  = "7008ea639328467db6fadd04b024dbf2"
	messageDone      = "08a457563c5d4f4a839706bb09b0a765"
)

const messageID = "message-id"

// progressLogInterval is how often the log hears of the progress of a job.
const progressLogInterval = 15 * time.Second

// jobLog is the log with what is known of a job. m.mu is held.
func (m *Manager) jobLog(j *job) logrus.FieldLogger {
	s := &j.status
	log := m.log.WithFields(logrus.Fields{
		"job-id":     j.id,
		"job-type":   j.work.Type,
		"image":      s.Image,
		"caller-uid": s.CallerUID,
	})
	if s.CallerUnit != "" {
		log = log.WithField("caller-unit", s.CallerUnit)
	}
	if s.TransactionID != "" {
		log = log.WithField("transaction-id", s.TransactionID)
	}
	if j.manifest != "" {
		log = log.WithField("manifest-digest", j.manifest)
	}
	return log
}

func (m *Manager) logStarted(j *job) {
	m.jobLog(j).WithField(messageID, messageStarted).Info("job started")
}

func (m *Manager) logFinished(j *job) {
	s := &j.status
	log := m.jobLog(j)
	switch {
	case s.Result == ResultFailed:
		log.WithFields(logrus.Fields{messageID: messageFailed, "error-kind": s.ErrorKind}).
			Errorf("job failed: %s", s.ErrorMessage)
	case s.Result == ResultCanceled:
		log.WithField(messageID, messageCanceled).Info("job canceled")
	case s.Type == JobPrepare:
		log.WithField(messageID, messagePrepared).Info("image prepared")
	case s.Import == nil:
		log.WithField(messageID, messageDone).Infof("job done: %s", s.StatusText)
	default:
		log.WithField(messageID, messageSucceeded).Infof("image %s as commit %s", s.StatusText, s.Import.Commit)
	}
}

func (m *Manager) logPanic(j *job, cause any, stack []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobLog(j).Errorf("internal error, the job ends: %v\n%s", cause, stack)
}
