package dbus

import (
	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// syslogLevels are syslog's names for logrus's levels; the last name of a level is the one that
// LogLevel shows.
var syslogLevels = []struct {
	name  string
	level logrus.Level
}{
	{"emerg", logrus.PanicLevel},
	{"alert", logrus.FatalLevel},
	{"crit", logrus.FatalLevel},
	{"err", logrus.ErrorLevel},
	{"warning", logrus.WarnLevel},
	{"notice", logrus.InfoLevel},
	{"info", logrus.InfoLevel},
	{"debug", logrus.DebugLevel},
}

func (s *Server) logControlProperties() properties {
	level := "debug"
	for _, known := range syslogLevels {
		if known.level == s.log.GetLevel() {
			level = known.name
		}
	}
	target := "console"
	if isJournal, err := journal.StderrIsJournalStream(); err == nil && isJournal {
		target = "journal"
	}
	return properties{"LogLevel": level, "LogTarget": target, "SyslogIdentifier": "ostree-importd"}
}

func (s *Server) setLogLevel(value any) error {
	for _, known := range syslogLevels {
		if known.name == value {
			s.log.SetLevel(known.level)
			return nil
		}
	}
	return standardError(errInvalidArgs, "unknown log level %q; use emerg, alert, crit, err, warning, notice, info or debug", value)
}
