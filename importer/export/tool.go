package export

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopDelay is how long a program may go on after SIGTERM before it is killed.
	stopDelay = 10 * time.Second
	// maxStderr is how many of the last bytes of what a program says are kept.
	maxStderr = 4 << 10
	// pipeBuffer is how much is written to a program at once.
	pipeBuffer = 256 << 10
	// outPath is the path by which a program knows the file that it is to write.
	outPath = "/proc/self/fd/3"
)

// ErrToolMissing says that a program that makes file systems can't be found.
var ErrToolMissing = errors.New("a program is missing")

// ToolError is the failure of a program that ran.
type ToolError struct {
	Tool     string
	ExitCode int    // -1 if a signal ended it
	Stderr   string // the end of what it said
}

func (e *ToolError) Error() string {
	said := e.Stderr
	if said == "" {
		said = fmt.Sprintf("exit status %d", e.ExitCode)
	}
	return e.Tool + ": " + said
}

// Is makes a cause that programs only word known to errors.Is. They run in the C locale.
func (e *ToolError) Is(target error) bool {
	return target == unix.ENOSPC && strings.Contains(e.Stderr, "No space left on device")
}

// find gives the path of a program.
func find(tool, debian, fedora string) (string, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", fmt.Errorf("%w: %w: install it with `apt install %s` or `dnf install %s`", ErrToolMissing, err, debian, fedora)
	}
	return path, nil
}

// run starts the program at path. out, if not nil, is what it knows as outPath. stdin, if not nil, writes its standard input. It returns
// the end of the standard output. When ctx ends or stdin fails the program gets SIGTERM, later SIGKILL, and that is the error.
func run(ctx context.Context, path string, args []string, out *os.File, stdin func(io.Writer) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stdout, stderr tail
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopDelay
	if out != nil {
		cmd.ExtraFiles = []*os.File{out}
	}
	var fed error
	var err error
	if stdin == nil {
		err = cmd.Run()
	} else {
		fed, err = feed(cmd, stdin, cancel)
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	var exit *exec.ExitError
	switch {
	case fed != nil:
		return "", fed
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case errors.As(err, &exit):
		return "", &ToolError{Tool: name, ExitCode: exit.ExitCode(), Stderr: stderr.String()}
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return stdout.String(), nil
}

// feed runs a command and writes its standard input. fed is a failure of stdin that is not the command's doing; then stop was called
// before the command could take the end of the input for the end of the data.
func feed(cmd *exec.Cmd, stdin func(io.Writer) error, stop func()) (fed, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.Stdin = r
	err = cmd.Start()
	r.Close()
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewWriterSize(w, pipeBuffer)
	fed = stdin(buffered)
	cut := errors.Is(fed, unix.EPIPE)
	if fed == nil {
		// A program need not read on behind the end of the archive.
		if fed = buffered.Flush(); errors.Is(fed, unix.EPIPE) {
			fed = nil
		}
	}
	switch {
	case fed == nil:
		fed = w.Close()
	case !cut:
		stop()
	}
	if err = cmd.Wait(); err != nil && cut {
		return nil, err // which says why nobody read on
	}
	return fed, err
}

// environment is ours with a fixed locale, and without what would change the output of a program or let it speak to the service manager in
// our name.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "LC_ALL", "LANGUAGE", "SOURCE_DATE_EPOCH", "NOTIFY_SOCKET":
		default:
			env = append(env, v)
		}
	}
	return append(env, "LC_ALL=C.UTF-8")
}

// tail is a writer that keeps the last maxStderr bytes.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - maxStderr; extra > 0 {
		*t = (*t)[:copy(*t, (*t)[extra:])]
	}
	return len(p), nil
}

func (t tail) String() string { return strings.ToValidUTF8(string(bytes.TrimSpace(t)), "?") }

// version is that of a program. The zero value is that of one that doesn't tell it.
type version struct{ major, minor int }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

var versionPattern = regexp.MustCompile(`\b([0-9]{1,4})\.([0-9]{1,4})`)

// versionOf asks a program for its version. A program that doesn't know the question is an old one, and no error.
func versionOf(ctx context.Context, path, question string) (version, error) {
	answer, err := run(ctx, path, []string{question}, nil, nil)
	var failed *ToolError
	if err != nil && !errors.As(err, &failed) {
		return version{}, err
	}
	found := versionPattern.FindStringSubmatch(answer)
	if found == nil {
		return version{}, nil
	}
	major, _ := strconv.Atoi(found[1]) // digits, few enough
	minor, _ := strconv.Atoi(found[2])
	return version{major, minor}, nil
}
