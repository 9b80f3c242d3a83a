package command

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that was started. Its methods may be called concurrently.
type Process struct {
	command Command
	cmd     *exec.Cmd
	stdout  tail
	stderr  tail
	exited  chan struct{} // closed when the program has been waited for
	err     error         // of Wait; to be read after exited
}

// Start starts the program, whose descriptors the caller may close afterwards. Errors: those of
// os/exec, and those of Command.Enter.
func Start(c Command) (*Process, error) {
	p := &Process{command: c, exited: make(chan struct{})}
	var err error
	if p.cmd, err = c.build(); err != nil {
		return nil, err
	}
	if p.cmd.Stderr = c.Stderr; c.Stderr == nil {
		p.cmd.Stderr = &p.stderr
	}
	if p.cmd.Stdout = c.Stdout; c.Stdout == nil {
		p.cmd.Stdout = &p.stdout
	}
	started := make(chan error)
	go p.own(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// own starts the program and waits for it, both on one thread: the kernel sends Pdeathsig when the
// thread that started the program ends. The thread ends with this function, because the goroutine
// stays locked to it: what start changed for it can't be taken back.
func (p *Process) own(started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread never ends, and its namespaces are taken for the process's. While it
		// waits here, the other goroutine gets another thread.
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.own(started)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	err := p.start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.exited)
	}
}

func (p *Process) start() error {
	if p.command.User != nil || p.command.Confined {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if p.command.Confined {
		confine()
	}
	if p.command.Enter != nil {
		if err := p.command.Enter(); err != nil {
			return err
		}
	}
	return p.cmd.Start()
}

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// PID returns the program's process ID, which is another's once the program has been waited for.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits for the end of the program. Errors: *Error for one that failed; the error of writing
// to Command.Stdout or Command.Stderr.
func (p *Process) Wait() error {
	<-p.exited
	return p.failure(p.err)
}

// Stderr returns the end of what the program has said so far; nothing with a Command.Stderr.
func (p *Process) Stderr() string { return p.stderr.String() }

// Kill ends the program, and what it has started, at once.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop asks the program to end, and kills it after a while.
func (p *Process) Stop() {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(StopDelay)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.Kill()
	}
}

// signal is for the process group, unless that is ours. The only error is that nothing of it is
// left.
func (p *Process) signal(s syscall.Signal) {
	target := -p.cmd.Process.Pid
	if p.command.Foreground {
		target = p.cmd.Process.Pid
	}
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(target, s)
	}
}
