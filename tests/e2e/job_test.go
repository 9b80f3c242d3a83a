package e2e

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// held is a stage with an image whose last layer doesn't come until it is released.
type held struct {
	*stage
	img       *ociimage.Image
	reference string
	hold      *fixture.Hold
}

func newHeld(t *testing.T) *held {
	t.Helper()
	s := newStage(t, fixture.DaemonOptions{})
	h := &held{stage: s, hold: fixture.NewHold()}
	h.img, h.reference = s.push(t, "1", files("a"), files("b"), files("c"))
	s.gateway.Spoil(h.img.Layers[2].Digest, h.hold.Fault)
	t.Cleanup(h.hold.Release)
	return h
}

// begin starts an import and waits until nothing but the held layer is missing.
func (h *held) begin(t *testing.T, client *dbus.Client) uint64 {
	t.Helper()
	id, err := client.Import(t.Context(), request(h.reference), daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.hold.Arrived(t)
	ctx, cancel := context.WithTimeout(t.Context(), fixture.Timeout)
	defer cancel()
	landed := false
	client.Wait(ctx, id, func(status daemon.JobStatus) {
		if landed = status.Progress.LayersDone == 2; landed {
			cancel()
		}
	})
	if !landed {
		t.Fatal("the other layers don't land")
	}
	return id
}

// An import that is killed goes on where it was.
func TestKilledDaemonResumes(t *testing.T) {
	h := newHeld(t)
	client := h.bus.Client(t)
	id := h.begin(t, client)
	h.bus.KillDaemon(t)
	h.gateway.Spoil(h.img.Layers[2].Digest, nil)
	h.gateway.Fetched()

	result := pulled(t, fixture.Run(t, h.pull(t, h.reference)))
	wantTree(t, h.repo, result.Commit, files("a"), files("b"), files("c"))
	fetched := h.gateway.Fetched()
	for i, want := range []int{0, 0, 1} {
		if got := fetched[h.img.Layers[i].Digest]; got != want {
			t.Errorf("layer %d was fetched %d times after the crash, want %d", i+1, got, want)
		}
	}
	if left := fixture.Leftovers(t, h.repo); len(left) > 0 {
		t.Errorf("the crash left %q", left)
	}
	fixture.Fsck(t, h.repo)

	status, err := client.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if status.Result != daemon.ResultFailed || status.ErrorKind != importer.KindInterrupted {
		t.Errorf("the killed job is %s with error %s", status.Result, status.ErrorKind)
	}
	if again := pulled(t, fixture.Run(t, h.pull(t, h.reference))); !again.AlreadyPresent {
		t.Errorf("a third pull does %+v", again)
	}
}

// Two clients that ask for the same get the same job.
func TestEqualRequestsShareAJob(t *testing.T) {
	h := newHeld(t)
	one, other := h.bus.Client(t), h.bus.Client(t)
	id := h.begin(t, one)
	same, err := other.Import(t.Context(), request(h.reference), daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if same != id {
		t.Errorf("the second request is job %d, the first is %d", same, id)
	}
	h.hold.Release()
	for _, client := range []*dbus.Client{one, other} {
		status, err := client.Wait(t.Context(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, h.repo, status.Import.Commit, files("a"), files("b"), files("c"))
	}
}

// A job doesn't need the one who asked for it.
func TestJobOutlivesItsCaller(t *testing.T) {
	h := newHeld(t)
	pull := h.pull(t, h.reference)
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	h.hold.Arrived(t)
	if err := pull.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pull.Wait()
	h.hold.Release()

	job := lastJob(t, h.stage)
	status, err := h.bus.Client(t).Wait(t.Context(), job.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, h.repo, status.Import.Commit, files("a"), files("b"), files("c"))
}

// A canceled import says so to everybody, writes no image, and keeps what it has.
func TestCancel(t *testing.T) {
	h := newHeld(t)
	client := h.bus.Client(t)
	id := h.begin(t, client)
	other := h.bus.Client(t)
	if same, err := other.Import(t.Context(), request(h.reference), daemon.JobOptions{}); err != nil || same != id {
		t.Fatalf("the same request is job %d, %v; want %d", same, err, id)
	}

	if out := fixture.Run(t, h.bus.Ctl(t, "cancel", strconv.FormatUint(id, 10))); out.Code != 0 {
		t.Fatalf("cancel exits %d: %s", out.Code, out.Stderr)
	}
	for _, c := range []*dbus.Client{client, other} {
		if _, err := c.Wait(t.Context(), id, nil); importer.KindOf(err) != importer.KindCanceled {
			t.Errorf("the job ends with %v", err)
		}
	}
	if refs := fixture.Refs(t, h.repo); strings.Contains(refs, "container/image") {
		t.Errorf("there is an image:\n%s", refs)
	}
	h.hold.Release()
	if left := fixture.Leftovers(t, h.repo); len(left) > 0 {
		t.Errorf("the canceled import left %q", left)
	}
	result := pulled(t, fixture.Run(t, h.pull(t, h.reference)))
	wantTree(t, h.repo, result.Commit, files("a"), files("b"), files("c"))
}

// Ctrl-C on a pull stops the job, and the exit code says that it was that.
func TestInterruptedPullCancels(t *testing.T) {
	h := newHeld(t)
	pull := h.pull(t, h.reference)
	var stderr strings.Builder
	pull.Stderr = &stderr
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	h.hold.Arrived(t)
	if err := pull.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := pull.Wait(); pull.ProcessState.ExitCode() != 130 {
		t.Errorf("exits %d, want 130: %v\n%s", pull.ProcessState.ExitCode(), err, &stderr)
	}
	if !strings.Contains(stderr.String(), "interrupted: job 1 was stopped") {
		t.Errorf("it says %s", &stderr)
	}
	if status := lastJob(t, h.stage); status.Result != daemon.ResultCanceled {
		t.Errorf("the job is %s %s", status.State, status.Result)
	}
	if refs := fixture.Refs(t, h.repo); strings.Contains(refs, "container/image") {
		t.Errorf("there is an image:\n%s", refs)
	}
}

// A second Ctrl-C leaves the job to the daemon, however long that takes to stop it.
func TestSecondInterruptLeavesTheJob(t *testing.T) {
	h := newHeld(t)
	terminal := fixture.StartTerminal(t, h.bus.Ctl(t, "pull", "--tls-verify=false", h.reference), 80, 24)
	h.hold.Arrived(t)
	pid := h.bus.Daemon()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	defer goOn()
	terminal.Type(t, fixture.Interrupt)
	terminal.Await(t, "stopping job 1; Ctrl-C leaves it to the daemon")
	terminal.Type(t, fixture.Interrupt)
	if code := terminal.Wait(t); code != 130 || !strings.Contains(terminal.Screen(), "interrupted twice: job 1 is left to the daemon") {
		t.Errorf("exit code %d, and\n%s", code, terminal.Screen())
	}
	goOn()
	if status := lastJob(t, h.stage); status.Image != h.reference {
		t.Errorf("the daemon knows of %+v", status)
	}
}

// The daemon leaves when it has nothing to do, and is back for the next call with the jobs that it
// had.
func TestIdleExit(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{IdleTimeout: 300 * time.Millisecond})
	_, reference := s.push(t, "1", files("a"))
	owners := s.bus.Owners(t)
	result := pulled(t, fixture.Run(t, s.pull(t, reference)))
	for _, want := range []bool{true, false} {
		if got := fixture.Await(t, owners, "the daemon to come and go"); got != want {
			t.Fatalf("the name has an owner: %t, want %t", got, want)
		}
	}
	job := lastJob(t, s)
	if job.Import == nil || job.Import.Commit != result.Commit {
		t.Errorf("the job of before is %+v", job)
	}
	if id := job.ID; id != 1 {
		t.Errorf("the first job is %d", id)
	}
	pulled(t, fixture.Run(t, s.pull(t, reference)))
	if id := lastJob(t, s).ID; id != 2 {
		t.Errorf("the second job is %d", id)
	}
}

// busctl, which people have at hand, can do it as well, and learns of a failure by its exit code.
func TestBusctl(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	_, reference := s.push(t, "1", files("a"))
	call := func(reference string) fixture.Output {
		return fixture.Run(t, exec.Command(fixture.Tool(t, "busctl"), "--address="+s.bus.Address, "--timeout=60", "call",
			dbus.BusName, "/org/ostree/import1", dbus.BusName+".Manager", "Import", "sa{sv}", reference,
			"2", "wait", "b", "true", "insecure-skip-tls-verification", "b", "true"))
	}
	if out := call(reference); out.Code != 0 || !strings.HasPrefix(out.Stdout, `toa{sv} 1 "/org/ostree/import1/job/_1"`) ||
		!strings.Contains(out.Stdout, `"commit" s "`) {
		t.Errorf("exits %d: %q %q", out.Code, out.Stdout, out.Stderr)
	}
	if out := call(s.reference("no-such-tag")); out.Code == 0 || !strings.Contains(out.Stderr, "manifest unknown") {
		t.Errorf("exits %d: %q %q", out.Code, out.Stdout, out.Stderr)
	}
}
