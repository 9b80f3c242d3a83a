package proxyclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

const (
	// sendBuffer is asked for the child's end of the socket (the kernel doubles
	// it): a reply that does not fit there kills the child.
	sendBuffer = 512 << 10
	// stderrTail is how much of the child's stderr is kept.
	stderrTail = 8 << 10
)

// child is a running proxy process.
type child struct {
	process *command.Process
	socket  *net.UnixConn
	stderr  *tail
	filter  *logFilter
	exited  chan struct{} // closed when the process has been waited for
	err     error         // of Wait; to be read after exited

	throttle throttle
}

// command returns a command of skopeo's with the launch's user, environment and limits.
func (l *launch) command(program string, args ...string) (command.Command, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return command.Command{}, err
	}
	limits, err := childLimits()
	return command.Command{
		Path: path, Args: args, Dir: ".", Env: l.environment(), User: l.user, Limits: limits, Files: l.files,
	}, err
}

// maxChildFiles bounds the open descriptors of a child.
const maxChildFiles = 4096

// childLimits returns what a child may use. Its memory cannot be limited: Go reserves address space
// far beyond what it uses. Nor can the size of its files: it unpacks archives.
func childLimits() (command.Limits, error) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return command.Limits{}, err
	}
	return command.Limits{Files: min(maxChildFiles, own.Max)}, nil
}

// startChild starts the proxy with its socket as stdin. refuse is called when a registry asks a
// call to wait for too long.
func startChild(cfg Config, l *launch, refuse func(*Error)) (*child, error) {
	argv := cfg.Command
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, launchError("cannot make the proxy's socket", err)
	}
	defer theirs.Close()
	c := &child{stderr: &tail{}, socket: ours, exited: make(chan struct{}), throttle: throttle{refuse: refuse}}
	c.filter = &logFilter{throttle: &c.throttle, debug: cfg.debugLog(), rest: c.stderr}
	// Only its debug log tells what a registry asks for that limits requests.
	skopeo, err := l.command(argv[0], slices.Concat(argv[1:], []string{"--debug"}, l.args)...)
	if err == nil {
		skopeo.Stdin, skopeo.Stderr = theirs, c.filter
		if l.shelter != nil {
			skopeo.Enter = l.shelter.enter
		}
		c.process, err = command.Start(skopeo)
	}
	if err != nil {
		ours.Close()
		return nil, startError(argv[0], err)
	}
	go c.wait()
	return c, nil
}

func (c *child) wait() {
	c.err = c.process.Wait()
	c.filter.flush()
	close(c.exited)
}

// kill ends the process at once; exited follows.
func (c *child) kill() { c.process.Kill() }

// deathError tells how the process ended; to be called after exited.
func (c *child) deathError() *Error {
	stderr := c.stderr.String()
	how := "with status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	var ended *command.Error
	if errors.As(c.err, &ended) {
		if how = fmt.Sprintf("exit status %d", ended.ExitCode); ended.Signal != 0 {
			how = command.KilledBy(ended.Signal)
		}
	}
	message := "the image proxy ended unexpectedly: " + how
	if line := lastLine(stderr); line != "" {
		message += ": " + printable(line)
	}
	return &Error{Class: ClassChildDied, Message: message, Stderr: stderr, Err: c.err}
}

// lastLine returns the line that says most about the end: that of a fatal error
// or panic, else the last one.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		if strings.Contains(line, "level=fatal") || strings.HasPrefix(line, "panic: ") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// socketPair makes the two ends, the second one for the child.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	// FORCE is for root; the other is bounded by net.core.wmem_max. Without
	// either, only replies for images with over a thousand layers are at risk.
	if unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "image proxy socket"), os.NewFile(uintptr(fds[1]), "image proxy socket")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// helpText returns what the proxy says about its options, subcommand and global.
func helpText(cfg Config) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Timeouts.Initialize)
	defer cancel()
	l := &launch{user: cfg.User}
	var help bytes.Buffer
	for _, args := range [][]string{append(append([]string{}, cfg.Command[1:]...), "--help"), {"--help"}} {
		skopeo, err := l.command(cfg.Command[0], args...)
		if err == nil {
			skopeo.Stdout, skopeo.Stderr = &help, &help
			_, err = command.Run(ctx, skopeo, nil)
		}
		if err != nil {
			return "", startError(cfg.Command[0], err)
		}
	}
	return help.String(), nil
}

// startError makes the error of a command that can't be started.
func startError(command string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
		return launchError("cannot start "+command, err)
	}
	message := "cannot find the image proxy " + command
	if filepath.Base(command) == "skopeo" {
		message = "skopeo is not installed: install the package skopeo (`apt install skopeo` or `dnf install skopeo`)"
	}
	return &Error{Class: ClassToolMissing, Op: "start", Message: message, Err: err}
}

// tail is a writer that keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-stderrTail):]...)
	if over := len(t.buf) - stderrTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "\uFFFD")
}
