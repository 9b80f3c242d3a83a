package systemd

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog tells the service manager that the process is alive, at half the interval that the
// service manager asked for, until ctx ends. Before each message it calls ping, which should take
// the locks that all work depends on: when ping hangs, the messages stop and the service manager
// restarts the daemon.
//
// It returns at once when the service manager asked for no watchdog, or not for one of this
// process.
func Watchdog(ctx context.Context, ping func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			ping()
			// A message that doesn't arrive is what the watchdog is there to notice.
			_ = Notify(daemon.SdNotifyWatchdog)
		}
	}
}
