package proxyclient

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

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
	cmd    *exec.Cmd
	socket *net.UnixConn
	stderr *tail
	filter *logFilter
	exited chan struct{} // closed when the process has been waited for
	err    error         // of Wait; to be read after exited

	throttle throttle
}

// command makes a command that runs with the launch's user and environment.
func (l *launch) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = l.environment()
	cmd.ExtraFiles = l.files
	cmd.WaitDelay = time.Second // a grandchild may hold stderr open
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // a child inside a blocking call does not notice that we are gone
		Setpgid:   true,            // the terminal's Ctrl-C is for us
	}
	if l.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: l.user.UID, Gid: l.user.GID}
	}
	return cmd
}

// startChild starts the proxy with its socket as stdin. refuse is called when a registry asks a call to wait for too long.
func startChild(cfg Config, l *launch, refuse func(*Error)) (*child, error) {
	argv := cfg.Command
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, launchError("cannot make the proxy's socket", err)
	}
	defer theirs.Close()
	c := &child{stderr: &tail{}, socket: ours, exited: make(chan struct{}), throttle: throttle{refuse: refuse}}
	// Only its debug log tells what a registry asks for that limits requests.
	c.cmd = l.command(argv[0], slices.Concat(argv[1:], []string{"--debug"}, l.args)...)
	c.cmd.Stdin = theirs
	c.filter = &logFilter{throttle: &c.throttle, debug: cfg.debugLog(), rest: c.stderr}
	c.cmd.Stderr = c.filter
	started := make(chan error)
	go c.own(started, l.shelter)
	if err := <-started; err != nil {
		ours.Close()
		return nil, startError(argv[0], err)
	}
	return c, nil
}

// own starts the process and waits for it, both on one thread: the kernel sends
// Pdeathsig when the thread that started the child ends. The thread ends with
// this function, since the goroutine stays locked to it: a thread that has
// entered a shelter serves nobody else.
func (c *child) own(started chan<- error, s *shelter) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread never ends, and its namespaces are taken for the
		// process's. While it waits here, the other goroutine gets another one.
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.own(started, s)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	err := c.start(s)
	started <- err
	if err == nil {
		c.err = c.cmd.Wait()
		c.filter.flush()
		close(c.exited)
	}
}

func (c *child) start(s *shelter) error {
	if c.cmd.SysProcAttr.Credential != nil {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil { // for this thread and what it starts
			return err
		}
	}
	if s != nil {
		if err := s.enter(); err != nil {
			return err
		}
	}
	return c.cmd.Start()
}

// kill ends the process at once; exited follows.
func (c *child) kill() {
	// The only error is that it has ended already.
	_ = c.cmd.Process.Kill()
}

// deathError tells how the process ended; to be called after exited.
func (c *child) deathError() *Error {
	stderr := c.stderr.String()
	how := "with status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			how = command.KilledBy(status.Signal())
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
	l := &launch{user: cfg.User}
	var help bytes.Buffer
	for _, args := range [][]string{append(append([]string{}, cfg.Command[1:]...), "--help"), {"--help"}} {
		cmd := l.command(cfg.Command[0], args...)
		cmd.Stdout, cmd.Stderr = &help, &help
		if err := runBriefly(cmd, cfg.Timeouts.Initialize); err != nil {
			return "", startError(cfg.Command[0], err)
		}
	}
	return help.String(), nil
}

// runBriefly runs a command that must end within the limit.
func runBriefly(cmd *exec.Cmd, limit time.Duration) error {
	runtime.LockOSThread() // for Pdeathsig, as in own
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s --help: %w", cmd.Path, err)
	}
	return nil
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
