//go:build system

package system

import (
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/dbus"
)

func TestCallStartsTheDaemon(t *testing.T) {
	run(t, "systemctl", "stop", unit)
	manager(t, "ListImages")
	if state := unitProperty(t, "ActiveState"); state != "active" {
		t.Errorf("unit is %s after a call", state)
	}
	if status := run(t, "systemctl", "status", "--no-pager", unit); !strings.Contains(status, "Status: ") {
		t.Errorf("systemctl status shows no status of the daemon:\n%s", status)
	}
	for _, property := range []string{"Version", "Repository", "NJobs"} {
		run(t, "busctl", "get-property", dbus.BusName, rootPath, managerInterface, property)
	}
}

func TestReloadKeepsTheDaemon(t *testing.T) {
	run(t, "systemctl", "start", unit)
	before := unitProperty(t, "MainPID")
	run(t, "systemctl", "reload", unit)
	manager(t, "ListJobs")
	if after := unitProperty(t, "MainPID"); after != before {
		t.Errorf("main process was %s before the reload and is %s after it", before, after)
	}
}

func TestLogLevelBySystemctl(t *testing.T) {
	run(t, "systemctl", "start", unit)
	run(t, "systemctl", "service-log-level", unit, "debug")
	if level := run(t, "systemctl", "service-log-level", unit); level != "debug" {
		t.Errorf("log level is %q", level)
	}
	run(t, "systemctl", "service-log-level", unit, "info")
}

// The threshold is what the shipped unit reaches. A directive that is taken out
// raises the exposure.
func TestExposure(t *testing.T) {
	t.Log(lastLine(run(t, "systemd-analyze", "security", "--no-pager", "--threshold=36", unit)))
}

// A host that lost its bus needs no reboot to get imports again.
func TestBusRestart(t *testing.T) {
	run(t, "systemctl", "start", unit)
	run(t, "systemctl", "kill", "--signal=SIGKILL", "dbus.service")
	run(t, "systemctl", "start", "dbus.service")
	manager(t, "ListJobs")
}
