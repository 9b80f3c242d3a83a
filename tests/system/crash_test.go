//go:build system

package system

import (
	"context"
	"testing"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

func TestKilledDaemonResumes(t *testing.T) {
	s := newSite(t)
	pushed := s.push(t, "killed:1", noise("usr/lib/first", 1<<20), noise("usr/lib/second", 1<<20))
	hold := fixture.NewHold()
	s.gateway.Spoil(pushed.layers[1], hold.Fault)
	s.gateway.Fetched()

	client := newClient(t)
	id := start(t, client, pushed.reference)
	hold.Arrived(t)
	awaitLayers(t, client, id, 1)
	gone := exits(t)
	run(t, "systemctl", "kill", "--signal=SIGKILL", unit)
	fixture.Await(t, gone, "the end of the killed daemon")

	status, err := client.Job(t.Context(), id)
	if err != nil {
		t.Fatalf("job of the killed daemon: %v", err)
	}
	if status.Result != daemon.ResultFailed || status.ErrorKind != importer.KindInterrupted {
		t.Errorf("job of the killed daemon: %s, %s: %s", status.Result, status.ErrorKind, status.ErrorMessage)
	}

	s.gateway.Spoil(pushed.layers[1], nil)
	if _, err := imported(t.Context(), client, pushed.reference); err != nil {
		t.Fatal(err)
	}
	fetched := s.gateway.Fetched()
	if first, second := fetched[pushed.layers[0]], fetched[pushed.layers[1]]; first != 1 || second != 2 {
		t.Errorf("the first layer was fetched %d times and the second %d, want 1 and 2", first, second)
	}
	run(t, "ostree", "--repo="+repository, "fsck", "--quiet")
}

// awaitLayers waits until that many layers of a running import have landed.
func awaitLayers(t *testing.T, client *dbus.Client, id uint64, layers int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fixture.Timeout)
	defer cancel()
	landed := false
	status, err := client.Wait(ctx, id, func(status daemon.JobStatus) {
		if landed = status.Progress.LayersDone == layers; landed {
			cancel()
		}
	})
	if !landed {
		t.Fatalf("the job ended as %s: %v", status.Result, err)
	}
}

func TestStopInterruptsTheImport(t *testing.T) {
	s := newSite(t)
	pushed := s.push(t, "stopped:1", noise("usr/lib/blob", 1<<20))
	hold := fixture.NewHold()
	s.gateway.Spoil(pushed.layers[0], hold.Fault)

	client := newClient(t)
	id := start(t, client, pushed.reference)
	hold.Arrived(t)
	run(t, "systemctl", "stop", unit)
	if result := unitProperty(t, "Result"); result != "success" {
		t.Errorf("unit ended with %q", result)
	}
	if left, _ := try("pgrep", "skopeo"); left != "" {
		t.Errorf("skopeo is still there: %s", left)
	}
	status, err := client.Job(t.Context(), id)
	if err != nil {
		t.Fatalf("the stopped job is not remembered: %v", err)
	}
	if status.ErrorKind != importer.KindInterrupted {
		t.Errorf("the stopped job ended as %s, %s: %s", status.Result, status.ErrorKind, status.ErrorMessage)
	}
}
