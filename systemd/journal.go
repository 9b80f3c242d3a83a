package systemd

import (
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// Identifier is the daemon's name in the journal.
const Identifier = "ostree-importd"

// messageID is the log field for the id of a message catalog entry. Text leaves it out: it says
// nothing to people.
const messageID = "message-id"

// NewLogger returns a logger for the daemon. When standard error is connected to the journal,
// records go there natively, with their level as the priority and with all fields; otherwise they
// go to standard error as lines of text.
//
// In the journal the field "job-id" is OSTREE_IMPORT_JOB_ID, and so on; "message-id", "caller-uid"
// and "caller-unit" are MESSAGE_ID, CALLER_UID and CALLER_UNIT. The field "error" is also appended
// to the message, as that is what most readers show.
func NewLogger(level logrus.Level) *logrus.Logger {
	logger := logrus.New()
	logger.SetLevel(level)
	logger.SetFormatter(textFormatter{&logrus.TextFormatter{FullTimestamp: true}})
	// An unreadable JOURNAL_STREAM means that standard error isn't known to be the journal.
	if isJournal, err := journal.StderrIsJournalStream(); err == nil && isJournal {
		logger.SetOutput(io.Discard)
		logger.AddHook(journalHook{})
	}
	return logger
}

// textFormatter is logrus's text without the fields that only the journal has a use for.
type textFormatter struct{ text *logrus.TextFormatter }

func (f textFormatter) Format(entry *logrus.Entry) ([]byte, error) {
	plain := *entry
	plain.Data = maps.Clone(entry.Data)
	delete(plain.Data, messageID)
	return f.text.Format(&plain)
}

// journalHook sends records to the journal. One that the journal does not take is written to
// standard error, which the service manager connected to the journal as well.
type journalHook struct{}

func (journalHook) Levels() []logrus.Level { return logrus.AllLevels }

func (journalHook) Fire(entry *logrus.Entry) error {
	message := entry.Message
	vars := map[string]string{"SYSLOG_IDENTIFIER": Identifier}
	for key, value := range entry.Data {
		text := fmt.Sprint(value)
		vars[journalField(key)] = text
		if key == logrus.ErrorKey {
			message += ": " + text
		}
	}
	if err := journal.Send(message, priority(entry.Level), vars); err != nil {
		_, err = fmt.Fprintln(os.Stderr, message)
		return err
	}
	return nil
}

// journalField is the journal's name for a log field: upper-case letters, digits and underscores.
func journalField(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	switch key {
	case messageID, "caller-uid", "caller-unit":
		return name
	}
	return "OSTREE_IMPORT_" + name
}

func priority(level logrus.Level) journal.Priority {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return journal.PriCrit
	case logrus.ErrorLevel:
		return journal.PriErr
	case logrus.WarnLevel:
		return journal.PriWarning
	case logrus.InfoLevel:
		return journal.PriInfo
	}
	return journal.PriDebug
}
