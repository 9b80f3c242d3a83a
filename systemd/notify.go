package systemd

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify sends the assignments ("READY=1", "STATUS=…"), each without a newline, to the service
// manager: all in one datagram, so that they take effect together. Without a service manager that
// listens it does nothing and returns nil.
func Notify(states ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		return fmt.Errorf("notify: cannot reach the service manager: %w", err)
	}
	return nil
}
