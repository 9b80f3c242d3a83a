// Command logprobe writes a few records through systemd.NewLogger, for the test of the journal.
package main

import (
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/systemd"
)

func main() {
	logger := systemd.NewLogger(logrus.InfoLevel)
	logger.WithFields(logrus.Fields{
		"job-id":      uint64(7),
		"caller-uid":  uint32(1000),
		"caller-unit": "timer.service",
		"message-id":  "b8428bad344f4384abf3b79d9bf8a1e7",
	}).Info("job started")
	logger.WithError(errors.New("line one\nline two")).Error("job failed")
	logger.Debug("below the level")
	logger.Warn("last")
}
