//go:build crash

package crash

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

const (
	// workerVariable is set, to its number, in a process that does a part of the hits, alone with
	// what it starts: it has its own process IDs and its own /var/tmp.
	workerVariable = "IMPORTD_CRASH_WORKER"
	workers        = 2
	defaultHits    = 300
)

func TestMain(m *testing.M) { fixture.Main(m) }

func TestCrash(t *testing.T) {
	needs.Root(t)
	seed := number(t, "CRASH_SEED", time.Now().UnixNano()%1_000_000)
	if worker := os.Getenv(workerVariable); worker != "" {
		isolate(t)
		run(t, seed, int(number(t, workerVariable, 0)))
		return
	}
	t.Logf("CRASH_SEED=%d repeats this run", seed)
	for worker := range workers {
		t.Run(fmt.Sprintf("worker %d", worker), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestCrash$", "-test.v", "-test.timeout=30m")
			cmd.Env = append(os.Environ(),
				fmt.Sprintf("%s=%d", workerVariable, worker), fmt.Sprintf("CRASH_SEED=%d", seed))
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
			}
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
		})
	}
}

// isolate gives the process the mounts that go with its own process IDs, and an empty /var/tmp.
func isolate(t *testing.T) {
	t.Helper()
	for _, mount := range []struct {
		source, target, kind, options string
		flags                         uintptr
	}{
		{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE},
		{source: "proc", target: "/proc", kind: "proc"},
		{source: "tmpfs", target: "/var/tmp", kind: "tmpfs", options: "mode=1777"},
	} {
		err := unix.Mount(mount.source, mount.target, mount.kind, mount.flags, mount.options)
		if err != nil {
			t.Fatalf("mount %s: %v", mount.target, err)
		}
	}
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
