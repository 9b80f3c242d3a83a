//go:build crash

package crash

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ostree-importd/ostree-importd/importer/check"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// poll is the time between two looks at what nobody tells.
const poll = 2 * time.Millisecond

// attempt is one try of a hit.
type attempt struct {
	*world
	hit       hit
	operation operation
	usual     time.Duration
}

// run tells whether something was killed.
func (a *attempt) run() bool {
	a.Helper()
	a.bus.StopDaemon(a)
	a.reset(a.operation.place)
	a.setVersion(a.operation.version)
	killed := a.strike()
	a.bus.StopDaemon(a)
	a.checkQuiet()
	if !a.operation.damaged {
		// ostree takes the mark of a commit away when it has written the refs: in between both are there.
		a.checkSound(check.Incomplete)
	}
	a.recover()
	a.bus.StopDaemon(a)
	a.checkQuiet()
	a.checkSound()
	a.checkNothingLeft()
	return killed
}

// running is a process that was started.
type running struct {
	cmd   *exec.Cmd
	said  strings.Builder // to be read when it has ended
	ended chan struct{}
}

func (a *attempt) start(cmd *exec.Cmd) *running {
	a.Helper()
	r := &running{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &r.said, &r.said
	cmd.WaitDelay = time.Second // a program that it has started may hold its output open
	a.must(cmd.Start())
	go func() {
		defer close(r.ended)
		cmd.Wait()
	}()
	return r
}

func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// killed tells whether the process, which has ended, was killed.
func (r *running) killed() bool {
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// strike runs the operation and kills.
func (a *attempt) strike() (killed bool) {
	a.Helper()
	var daemon *running
	args := a.operation.args(a.world)
	caller := a.local(a.path("repo"), args...)
	dying := caller
	if a.hit.daemon {
		caller, dying = a.bus.Ctl(a, args...), a.bus.DaemonCommand()
	}
	if a.hit.point != "" {
		dying.Env = append(dying.Environ(), fmt.Sprintf("IMPORTD_CRASH=%s:%d", a.hit.point, a.hit.nth))
	}
	if a.hit.daemon {
		daemon = a.start(dying)
		a.await("the daemon to be there", func() bool { return a.bus.Daemon() != 0 || daemon.over() })
	}
	client := a.start(caller)
	random := a.hit.point == "" && a.killAtRandom(client, daemon)
	fixture.Await(a, client.ended, "the operation to end")
	if daemon != nil {
		daemon.cmd.Process.Signal(syscall.SIGTERM)
		fixture.Await(a, daemon.ended, "the daemon to end")
		killed = daemon.killed()
	}
	killed = killed || client.killed() || random
	if !killed {
		a.Logf("nothing was killed; the operation says: %s", client.said.String())
	}
	return killed
}

// killAtRandom waits for the moment and kills the program, if it runs then or soon.
func (a *attempt) killAtRandom(client, daemon *running) bool {
	select {
	case <-client.ended:
		return false
	case <-time.After(time.Duration(a.hit.delay * float64(a.usual))):
	}
	switch {
	case a.hit.target == "ostree-importctl":
		return client.cmd.Process.Kill() == nil
	case a.hit.target == "ostree-importd":
		return daemon.cmd.Process.Kill() == nil
	}
	for !client.over() {
		for _, p := range processes() {
			if p.name == a.hit.target {
				return syscall.Kill(p.id, syscall.SIGKILL) == nil
			}
		}
		time.Sleep(poll)
	}
	return false
}

// await waits until something is so.
func (a *attempt) await(what string, so func() bool) {
	a.Helper()
	for deadline := time.Now().Add(fixture.Timeout); !so(); time.Sleep(poll) {
		if time.Now().After(deadline) {
			a.Fatalf("waited in vain for %s", what)
		}
	}
}

// recover does what somebody does after a crash: pull, the operation once more, and a collection.
func (a *attempt) recover() {
	a.Helper()
	command := func(args ...string) *exec.Cmd {
		if a.hit.daemon {
			return a.bus.Ctl(a, args...)
		}
		return a.local(a.path("repo"), args...)
	}
	for _, image := range []struct{ reference, commit string }{
		{a.app, a.commits[a.operation.version]}, {a.base, a.commits["base"]},
	} {
		if commit := a.pulled(command("--json", "pull", image.reference)); commit != image.commit {
			a.Errorf("the next pull of %s gives %s, not %s", image.reference, commit, image.commit)
		}
	}
	a.mustRun(command(a.operation.args(a.world)...))
	a.mustRun(command("gc"))
}
