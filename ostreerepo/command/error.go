package command

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Error is the failure of a program that ran.
type Error struct {
	Name     string         // of the program
	ExitCode int            // -1 if a signal ended it
	Signal   syscall.Signal // the signal that ended it, else 0
	Stderr   string         // the end of what it said, without white space around it
}

// Error gives the program's own words, and the signal that ended it.
func (e *Error) Error() string {
	said := e.Stderr
	switch {
	case e.Signal != 0 && said == "":
		said = e.signal()
	case e.Signal != 0:
		said = e.signal() + ": " + said
	case said == "":
		said = fmt.Sprintf("exit status %d", e.ExitCode)
	}
	return e.Name + ": " + said
}

func (e *Error) signal() string { return KilledBy(e.Signal) }

// KilledBy names the signal that ended a program, and what it means where the kernel sends it for a
// limit.
func KilledBy(s syscall.Signal) string {
	text := "killed by " + unix.SignalName(s)
	switch s {
	case unix.SIGKILL:
		return text + " (the kernel does that when memory runs out)"
	case unix.SIGXCPU:
		return text + " (it used up its limit of CPU time)"
	case unix.SIGXFSZ:
		return text + " (it wrote a file beyond its limit of size)"
	}
	return text
}

// words are what programs print for errors of system calls. They run in the C locale.
var words = map[error][]string{
	unix.ENOSPC: {"No space left on device", "no space left on device"},
	unix.EDQUOT: {"Disk quota exceeded", "disk quota exceeded"},
	unix.EROFS:  {"Read-only file system", "read-only file system"},
	unix.EMFILE: {"Too many open files", "too many open files"},
	unix.ENFILE: {"Too many open files in system", "too many open files in system"},
}

// Is makes causes that programs only word known to errors.Is, as unix.Errno.
func (e *Error) Is(target error) bool {
	for _, w := range words[target] {
		if strings.Contains(e.Stderr, w) {
			return true
		}
	}
	return false
}

// failure makes the error of a program that was waited for.
func (p *Process) failure(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return fmt.Errorf("%s: %w", p.command.name(), err)
		}
		return nil
	}
	e := &Error{Name: p.command.name(), ExitCode: exit.ExitCode(), Stderr: p.stderr.String()}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// tail is a writer that keeps the last maxOutput bytes. It may be read while it is written.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-maxOutput):]...)
	if extra := len(t.buf) - maxOutput; extra > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[extra:])]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "\uFFFD")
}
