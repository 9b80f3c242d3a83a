package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// shell is a command that runs a script.
func shell(script string) command.Command {
	return command.Command{Path: "/bin/sh", Args: []string{"-c", script}, Name: "script"}
}

func run(t testing.TB, c command.Command) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return command.Run(ctx, c, nil)
}

func mustRun(t testing.TB, c command.Command) string {
	t.Helper()
	out, err := run(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEnvironment wants nothing of ours in the environment of a program.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{
		"LD_LIBRARY_PATH", "GIO_EXTRA_MODULES", "OSTREE_REPO", "XDG_CONFIG_HOME", "GNUPGHOME", "http_proxy",
		"REGISTRY_AUTH_FILE", "CONTAINERS_CONF", "NOTIFY_SOCKET", "RPM_CONFIGDIR", "GODEBUG", "LC_ALL", "HOME", "PATH",
	} {
		t.Setenv(name, "/foreign")
	}
	c := command.Command{Path: "/usr/bin/env", Env: []string{"TMPDIR=/x"}}
	const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if got, want := mustRun(t, c), "PATH="+path+"\nLC_ALL=C.UTF-8\nHOME=/nonexistent\nTMPDIR=/x"; got != want {
		t.Errorf("got %s", got)
	}
	c.Home = "/home"
	if got := mustRun(t, c); !strings.Contains(got, "HOME=/home\n") {
		t.Errorf("got %s", got)
	}
	if got := mustRun(t, shell("pwd")); got != "/" {
		t.Errorf("it runs in %s", got)
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		script, want string
		signal       syscall.Signal
		exit         int
		is           error
	}{
		{"exit 3", "script: exit status 3", 0, 3, nil},
		{"echo the cause >&2; exit 1", "script: the cause", 0, 1, nil},
		{"kill -SEGV $$", "script: killed by SIGSEGV", unix.SIGSEGV, -1, nil},
		{"echo last words >&2; kill -TERM $$", "script: killed by SIGTERM: last words", unix.SIGTERM, -1, nil},
		{"kill -KILL $$", "script: killed by SIGKILL (the kernel does that when memory runs out)", unix.SIGKILL, -1, nil},
		{"kill -XCPU $$", "script: killed by SIGXCPU (it used up its limit of CPU time)", unix.SIGXCPU, -1, nil},
		{"echo 'open x: Too many open files' >&2; exit 1", "script: open x: Too many open files", 0, 1, unix.EMFILE},
		{"echo 'error: write: No space left on device' >&2; exit 1", "script: error: write: No space left on device", 0, 1, unix.ENOSPC},
		{"echo 'mkdir: Read-only file system' >&2; exit 1", "script: mkdir: Read-only file system", 0, 1, unix.EROFS},
	} {
		_, err := run(t, shell(test.script))
		var failed *command.Error
		if !errors.As(err, &failed) || failed.ExitCode != test.exit || failed.Signal != test.signal || err.Error() != test.want {
			t.Errorf("%s: %v", test.script, err)
		}
		if test.is != nil && !errors.Is(err, test.is) || errors.Is(err, unix.EDQUOT) {
			t.Errorf("%s: %v is no %v", test.script, err, test.is)
		}
	}
	if _, err := run(t, command.Command{Path: "/nonexistent/program"}); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "program: ") {
		t.Errorf("no program: %v", err)
	}
}

// TestOutput keeps the end of what a program says.
func TestOutput(t *testing.T) {
	out := mustRun(t, shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"))
	if len(out) > 8<<10 || !strings.HasSuffix(out, "line 2999") {
		t.Errorf("%d bytes", len(out))
	}
	var all strings.Builder
	c := shell("echo some text; printf '\\377' >&2; exit 1")
	c.Stdout = &all
	if _, err := run(t, c); err == nil || err.Error() != "script: \uFFFD" || all.String() != "some text\n" {
		t.Errorf("%v, %q", err, all.String())
	}
}

// TestStop ends a program that has started another one: both get the signal. A program that did not
// end then would be killed after ten seconds.
func TestStop(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller's reason")
	go func() {
		_, err := os.ReadFile(started) // until the script has written
		cancel(errors.Join(cause, err))
	}()
	begun := time.Now()
	_, err := command.Run(ctx, shell(fmt.Sprintf("trap 'wait; exit 1' TERM; sh -c 'echo > %s; exec sleep 1000' & wait", started)), nil)
	if took := time.Since(begun); !errors.Is(err, cause) || took > command.StopDelay-2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if _, err := command.Run(ctx, shell("exit 0"), nil); !errors.Is(err, cause) {
		t.Errorf("with an ended context: %v", err)
	}
}

// TestFeed is about who is to blame when the input of a program ends early.
func TestFeed(t *testing.T) {
	own := errors.New("our own fault")
	large := func(w io.Writer) error {
		for range 100 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}
	small := func(w io.Writer) error { _, err := io.WriteString(w, "abc"); return err }
	for _, test := range []struct {
		name, script string
		feed         func(io.Writer) error
		out          string
		want         func(error) bool
	}{
		{"all is read", "cat", small, "abc", func(err error) bool { return err == nil }},
		{"much is read", "wc -c", large, "104857600", func(err error) bool { return err == nil }},
		{"the last bytes are not read", "exec <&-; exit 0", small, "", func(err error) bool { return err == nil }},
		{"it ends early and well", "exit 0", large, "", func(err error) bool { return errors.Is(err, unix.EPIPE) }},
		{"it fails early", "echo broken >&2; exit 2", large, "", func(err error) bool { return err != nil && err.Error() == "script: broken" }},
		{"we fail", "cat >/dev/null; echo done >&2", func(io.Writer) error { return own }, "", func(err error) bool { return errors.Is(err, own) }},
	} {
		out, err := command.Run(t.Context(), shell(test.script), test.feed)
		if !test.want(err) || err == nil && out != test.out {
			t.Errorf("%s: %q, %v", test.name, out, err)
		}
	}
}

func TestLimits(t *testing.T) {
	limits := command.Limits{Memory: 64 << 20, CPU: 7 * time.Second, FileSize: 1 << 20, Files: 20}
	c := shell("ulimit -d; ulimit -t; ulimit -f; ulimit -n; ulimit -c")
	c.Limits = limits
	if got := strings.Join(strings.Fields(mustRun(t, c)), " "); got != "65536 7 2048 20 0" {
		t.Errorf("got %s", got)
	}
	for script, want := range map[string]string{
		"exec head -c 2M /dev/zero > " + t.TempDir() + "/f": "killed by SIGXFSZ",
		"exec sort -S 500M --parallel=1 /dev/zero":          "", // its words for it differ
	} {
		c := shell(script)
		c.Limits = limits
		if _, err := run(t, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	c = shell("while :; do :; done")
	c.Limits.CPU = time.Second
	if _, err := run(t, c); err == nil || !strings.Contains(err.Error(), "killed by SIGXCPU (it used up its limit of CPU time)") {
		t.Errorf("a loop: %v", err)
	}
}

// TestUnprivileged runs a program as another user, who has no way back.
func TestUnprivileged(t *testing.T) {
	needs.Root(t)
	c := shell("id -u; id -g; id -G; grep -E '^(NoNewPrivs|CapEff|CapPrm)' /proc/self/status; grep 'Max processes' /proc/self/limits")
	c.User, c.Limits.Files = &command.User{UID: 65534, GID: 65533}, 100
	got := strings.Join(strings.Fields(mustRun(t, c)), " ")
	if want := "65534 65533 65533 CapPrm: 0000000000000000 CapEff: 0000000000000000 NoNewPrivs: 1 Max processes 4096 4096 processes"; got != want {
		t.Errorf("got %s", got)
	}
}

// TestConfined has neither network nor sockets.
func TestConfined(t *testing.T) {
	needs.Root(t)
	c := shell("tail -n +3 /proc/net/dev | grep -v ' lo:'; ls -A /run; grep NoNewPrivs /proc/self/status")
	c.Confined = true
	if got := strings.Join(strings.Fields(mustRun(t, c)), " "); got != "NoNewPrivs: 1" {
		t.Errorf("it sees %s", got)
	}
	if entries, err := os.ReadDir("/run"); err != nil || len(entries) == 0 {
		t.Errorf("our own /run: %v, %v", entries, err)
	}
}

// TestFiles gives a program a descriptor.
func TestFiles(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := shell("echo written > " + command.FilePath(0))
	c.Files = []*os.File{f}
	mustRun(t, c)
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != "written\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestForeground: a program that may read the terminal is in our process group, and is stopped
// without stopping us.
func TestForeground(t *testing.T) {
	for _, foreground := range []bool{false, true} {
		c := shell("cut -d' ' -f5 /proc/self/stat")
		c.Foreground = foreground
		if ours := strings.TrimSpace(mustRun(t, c)) == strconv.Itoa(unix.Getpgrp()); ours != foreground {
			t.Errorf("foreground %t: in our process group: %t", foreground, ours)
		}
	}
	c := shell("exec sleep 1000")
	c.Foreground = true
	p, err := command.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "SIGTERM") {
		t.Errorf("the program ends with %v", err)
	}
}
