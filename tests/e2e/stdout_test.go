package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// runInto runs a command with a standard output of the caller's, and gives what it printed on
// standard error and how it ended.
func runInto(t *testing.T, cmd *exec.Cmd, out *os.File) (stderr string, code int) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said.String(), cmd.ProcessState.ExitCode()
}

// TestUnprintedResultIsAFailure has every verb print to a full disk, as text and as JSON.
func TestUnprintedResultIsAFailure(t *testing.T) {
	needs.Root(t)
	s := newStage(t, fixture.DaemonOptions{})
	_, image := s.push(t, "1", files("a"))
	_, other := s.push(t, "2", files("a", "b"))
	for _, reference := range []string{image, other} {
		pulled(t, fixture.Run(t, s.pull(t, reference)))
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { full.Close() })
	copied := fixture.NewRepo(t, ostreerepo.ModeArchive).Path()
	layout := "oci:" + filepath.Join(t.TempDir(), "layout")
	for _, verb := range [][]string{
		{"pull", "--tls-verify=false", image}, {"prepare", "--tls-verify=false", image},
		{"prepare", "--check", "--tls-verify=false", image},
		{"images"}, {"show", image}, {"show", "--manifest", image}, {"show", "--config", image}, {"history", image},
		{"diff", "--files", image, other}, {"verify"}, {"copy", image, "--to-repo=" + copied},
		{"export", image, layout}, {"encapsulate", pulledCommit(t, s, image), layout + ":tag"},
		{"gc", "--dry-run"}, {"remove", image},
	} {
		for _, options := range [][]string{nil, {"--json"}} {
			for _, where := range []string{"bus", "local"} {
				args := append(append([]string{}, options...), verb...)
				t.Run(where+" "+strings.Join(args, " "), func(t *testing.T) {
					cmd := s.bus.Ctl(t, args...)
					if where == "local" {
						cmd = exec.Command(fixture.Command(t, "ostree-importctl"), append([]string{"--local", "--repo=" + s.repo.Path()}, args...)...)
					}
					stderr, code := runInto(t, cmd, full)
					if code != 1 || !strings.Contains(stderr, "cannot write to standard output: ") || !strings.Contains(stderr, "no space left") {
						t.Errorf("exit code %d: %s", code, stderr)
					}
				})
			}
		}
	}
	t.Run("bus jobs", func(t *testing.T) {
		for _, args := range [][]string{{"jobs"}, {"--json", "jobs"}} {
			if stderr, code := runInto(t, s.bus.Ctl(t, args...), full); code != 1 || !strings.Contains(stderr, "standard output") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		}
	})
	t.Run("bus monitor", func(t *testing.T) { monitorEnds(t, s, image, full) })
	t.Run("daemon", func(t *testing.T) {
		for _, option := range []string{"--bus-introspect", "--help", "--version"} {
			stderr, code := runInto(t, exec.Command(fixture.Command(t, "ostree-importd"), option), full)
			if code != 1 || !strings.Contains(stderr, "standard output") {
				t.Errorf("%s: exit code %d: %s", option, code, stderr)
			}
		}
	})
}

// pulledCommit gives the commit of a stored image.
func pulledCommit(t *testing.T, s *stage, image string) string {
	t.Helper()
	return pulled(t, fixture.Run(t, s.pull(t, image))).Commit
}

// monitorEnds checks that monitor ends at the first event that it cannot print.
func monitorEnds(t *testing.T, s *stage, image string, out *os.File) {
	t.Helper()
	cmd := s.bus.Ctl(t, "monitor")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state says how
		close(ended)
	}()
	deadline := time.After(fixture.Timeout)
	for {
		pulled(t, fixture.Run(t, s.pull(t, image))) // its job is an event, once monitor listens
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "standard output") {
				t.Errorf("exit code %d: %s", code, said.String())
			}
			return
		case <-deadline:
			t.Error("monitor goes on")
			_ = cmd.Process.Kill()
			<-ended
			return
		default:
		}
	}
}

// TestReaderThatLeaves has the command print to a pipe that nobody reads.
func TestReaderThatLeaves(t *testing.T) {
	needs.Root(t)
	s := newStage(t, fixture.DaemonOptions{})
	_, image := s.push(t, "1", files("a"))
	pulled(t, fixture.Run(t, s.pull(t, image)))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	cmd := s.bus.Ctl(t, "images")
	stderr, _ := runInto(t, cmd, w)
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if stderr != "" || status.Signal() != syscall.SIGPIPE {
		t.Errorf("%s: %q", cmd.ProcessState, stderr)
	}
}
