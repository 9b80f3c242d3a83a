//go:build system

package system

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
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

// explained lists what systemd-analyze still has to say of the unit; the unit says why.
var explained = []string{
	"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)", "CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)",
	"CapabilityBoundingSet=~CAP_KILL", "CapabilityBoundingSet=~CAP_MAC_*", "CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)",
	"CapabilityBoundingSet=~CAP_SYS_ADMIN", "DeviceAllow=", "IPAddressDeny=", "PrivateNetwork=", "PrivateUsers=", "ProcSubset=",
	"RestrictAddressFamilies=~AF_(INET|INET6)", "RestrictAddressFamilies=~AF_UNIX", "RestrictNamespaces=~mnt", "RestrictNamespaces=~net",
	"RestrictSUIDSGID=", "RootDirectory=/RootImage=", "SystemCallFilter=~@mount", "SystemCallFilter=~@privileged", "SystemCallFilter=~@resources",
	"UMask=", "User=/DynamicUser=",
}

// A directive that is taken out of the unit adds a point that is not explained there.
func TestExposure(t *testing.T) {
	t.Log(lastLine(run(t, "systemd-analyze", "security", "--no-pager", unit)))
	var points []struct{ Name, Exposure string }
	if err := json.Unmarshal([]byte(run(t, "systemd-analyze", "security", "--no-pager", "--json=short", unit)), &points); err != nil {
		t.Fatal(err)
	}
	if len(points) < 50 {
		t.Errorf("only %d points were assessed", len(points))
	}
	for _, p := range points {
		if exposure, err := strconv.ParseFloat(p.Exposure, 64); err == nil && exposure > 0 && !slices.Contains(explained, p.Name) {
			t.Errorf("%s adds %s to the exposure", p.Name, p.Exposure)
		}
	}
}

// TestBusImplementation sees to it that the other tests run with the bus that was asked for.
func TestBusImplementation(t *testing.T) {
	want := map[string]string{"dbus-daemon": "dbus.service", "dbus-broker": "dbus-broker.service"}[os.Getenv("BUS")]
	if id := run(t, "systemctl", "show", "--property=Id", "--value", "dbus.service"); id != want {
		t.Errorf("the bus is %s, want %s", id, want)
	}
}

// A host that lost its bus needs no reboot to get imports again.
func TestBusRestart(t *testing.T) {
	run(t, "systemctl", "start", unit)
	run(t, "systemctl", "kill", "--signal=SIGKILL", "dbus.service")
	run(t, "systemctl", "start", "dbus.service")
	manager(t, "ListJobs")
}
