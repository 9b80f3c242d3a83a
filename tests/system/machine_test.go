//go:build system

package system

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

const (
	unit             = "ostree-importd.service"
	rootPath         = "/org/ostree/import1"
	managerInterface = "org.ostree.import1.Manager"
)

// run runs a command that must succeed and gives what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(fixture.MustRun(t, name, args...))
}

// manager calls a method of the manager with busctl.
func manager(t testing.TB, method string, args ...string) string {
	t.Helper()
	return run(t, "busctl", append([]string{"call", dbus.BusName, rootPath, managerInterface, method}, args...)...)
}

// unitProperty reads a property of the daemon's unit.
func unitProperty(t testing.TB, property string) string {
	t.Helper()
	return run(t, "systemctl", "show", "--property="+property, "--value", unit)
}

// dropIn adds to the daemon's unit until the end of the test.
func dropIn(t *testing.T, text string) {
	t.Helper()
	dir := "/run/systemd/system/" + unit + ".d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	reload := func() {
		run(t, "systemctl", "stop", unit)
		run(t, "systemctl", "daemon-reload")
	}
	reload()
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		reload()
	})
}

// newClient connects to the system bus.
func newClient(t *testing.T) *dbus.Client {
	t.Helper()
	client, err := dbus.Dial(t.Context(), "system")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// start starts an import.
func start(t *testing.T, client *dbus.Client, image string) uint64 {
	t.Helper()
	id, err := client.Import(t.Context(), importer.Request{Image: image}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// imported runs an import to its end.
func imported(ctx context.Context, client *dbus.Client, image string) (daemon.JobStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, fixture.Timeout)
	defer cancel()
	id, err := client.Import(ctx, importer.Request{Image: image}, daemon.JobOptions{})
	if err != nil {
		return daemon.JobStatus{}, err
	}
	return client.Wait(ctx, id, nil)
}

// exits gives a channel that has an element for each time that the daemon's name
// becomes free.
func exits(t *testing.T) <-chan struct{} {
	t.Helper()
	conn, err := godbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	signals := make(chan *godbus.Signal, 1024)
	conn.Signal(signals)
	err = conn.AddMatchSignal(godbus.WithMatchSender("org.freedesktop.DBus"),
		godbus.WithMatchMember("NameOwnerChanged"), godbus.WithMatchArg(0, dbus.BusName), godbus.WithMatchArg(2, ""))
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan struct{}, cap(signals))
	go func() {
		for signal := range signals {
			if signal.Name == "org.freedesktop.DBus.NameOwnerChanged" {
				free <- struct{}{}
			}
		}
	}()
	return free
}

// lastLine is what commands print their result on.
func lastLine(text string) string {
	return text[strings.LastIndex(text, "\n")+1:]
}

// try runs a command that may fail and gives all that it printed.
func try(name string, args ...string) (string, error) {
	output, err := exec.Command(name, args...).CombinedOutput()
	return strings.TrimSpace(string(output)), err
}
