package ostreerepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// defaultCommand is what Options.Command stands for when empty.
	defaultCommand = "ostree"
	// stopDelay is how long a command may go on after SIGTERM before it is killed.
	stopDelay = 10 * time.Second
	// maxOutput is how many of the last bytes of a command's standard output and standard error are kept, each.
	maxOutput = 8 << 10
)

// CommandError is the failure of an ostree command that ran. Stderr is the end of what it said, without white space around it.
type CommandError struct {
	Args     []string // without the command's own name
	ExitCode int      // -1 if a signal ended it
	Stderr   string
}

// Error names the subcommand and gives the command's own words.
func (e *CommandError) Error() string {
	said := e.Stderr
	if said == "" {
		said = fmt.Sprintf("exit status %d", e.ExitCode)
	}
	return fmt.Sprintf("ostree %s: %s", e.subcommand(), said)
}

func (e *CommandError) subcommand() string {
	if len(e.Args) == 0 {
		return ""
	}
	return e.Args[0]
}

// Is makes the causes that libostree only words known to errors.Is. Commands run in the C locale.
func (e *CommandError) Is(target error) bool {
	var words []string
	switch target {
	case ErrNoSpace:
		words = []string{"No space left on device", "Disk quota exceeded", "min-free-space"}
	case ErrReadOnly:
		words = []string{"Read-only file system"}
	}
	for _, w := range words {
		if strings.Contains(e.Stderr, w) {
			return true
		}
	}
	return false
}

// findCommand returns the path of the command that Options.Command names.
func findCommand(name string) (string, error) {
	if name == "" {
		name = defaultCommand
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", toolMissing(err)
	}
	return path, nil
}

func toolMissing(err error) error {
	return fmt.Errorf("%w: %w: install it with `apt install ostree` or `dnf install ostree`", ErrToolMissing, err)
}

// run starts the ostree command at path and returns the end of its standard output. When ctx ends the command gets SIGTERM,
// later SIGKILL, and the error is the context's.
func run(ctx context.Context, path string, args ...string) (string, error) {
	var stdout, stderr tail
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = commandEnv()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopDelay

	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("ostree %s: %w", args[0], context.Cause(ctx))
	case errors.As(err, &exit):
		return "", &CommandError{Args: args, ExitCode: exit.ExitCode(), Stderr: stderr.String()}
	case cmd.Process == nil && errors.Is(err, fs.ErrNotExist):
		return "", toolMissing(err)
	}
	return "", fmt.Errorf("ostree %s: %w", args[0], err)
}

// commandEnv returns our environment with a fixed locale and without what would change a command's output or let it speak to
// the service manager in our name.
func commandEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "LC_ALL", "LANGUAGE", "G_MESSAGES_DEBUG", "NOTIFY_SOCKET":
		default:
			env = append(env, v)
		}
	}
	return append(env, "LC_ALL=C.UTF-8")
}

// tail is a writer that keeps the last maxOutput bytes.
type tail struct {
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - maxOutput; extra > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[extra:])]
	}
	return len(p), nil
}

func (t *tail) String() string {
	return string(bytes.TrimSpace(t.buf))
}
