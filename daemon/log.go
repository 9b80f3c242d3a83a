package daemon

import (
	"fmt"
	"strings"
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
	m.jobLog(j).WithField(messageID, messageStarted).Info(oneJob(j) + " started")
}

// logFinished logs the end of a job: record is the line about one that is done, made of its status
// text if empty.
func (m *Manager) logFinished(j *job, record string) {
	s := &j.status
	log := m.jobLog(j)
	if record == "" {
		record = fmt.Sprintf("%s is done: %s", oneJob(j), OneLine(s.StatusText))
	}
	switch {
	case s.Result == ResultFailed:
		log.WithFields(logrus.Fields{messageID: messageFailed, "error-kind": s.ErrorKind}).
			Errorf("%s failed: %s", oneJob(j), strings.Join(strings.Fields(s.ErrorMessage), " "))
	case s.Result == ResultCanceled:
		log.WithField(messageID, messageCanceled).Info(oneJob(j) + " was canceled")
	case s.Type == JobPrepare:
		log.WithField(messageID, messagePrepared).Info(record)
	case s.Import == nil:
		log.WithField(messageID, messageDone).Info(record)
	default:
		log.WithField(messageID, messageSucceeded).Info(record)
	}
}

// oneJob says what a record is about: each is read on its own.
func oneJob(j *job) string {
	if j.status.Image == "" {
		return string(j.status.Type)
	}
	return OneLine(fmt.Sprintf("%s of %s", j.status.Type, j.status.Image))
}

func (m *Manager) logPanic(j *job, cause any, stack []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobLog(j).Errorf("internal error, the job ends: %v\n%s", cause, stack)
}
