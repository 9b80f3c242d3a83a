package dirfd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights are those of a user. Only root can take those of another one.
type Rights struct {
	UID, GID uint32
	Groups   []uint32
}

// run makes a system call with the rights; nil stands for those of this process.
//
// The call is made by a thread that has the user's effective ids, and so none of root's
// capabilities, and that ends with the call: nothing has to be given back. Its real and saved ids
// stay root's, so that the user cannot send it signals.
func (r *Rights) run(call func() error) error {
	if r == nil || int(r.UID) == os.Geteuid() {
		return call()
	}
	done := make(chan error)
	go func() { done <- r.runInThread(call) }()
	return <-done
}

// runInThread never unlocks its goroutine, which therefore has to end with it.
func (r *Rights) runInThread(call func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread would not end. While it waits here, the other goroutine gets another one.
		defer runtime.UnlockOSThread()
		done := make(chan error)
		go func() { done <- r.runInThread(call) }()
		return <-done
	}
	if err := r.become(); err != nil {
		return fmt.Errorf("take the rights of user %d: %w", r.UID, err)
	}
	return call()
}

// become gives the calling thread the ids. Those of the syscall package would change them for all
// threads.
func (r *Rights) become() error {
	if strconv.IntSize < 64 {
		return errors.New("this is not supported on machines of 32 bits") // whose system calls take ids of 16
	}
	const keep = ^uintptr(0)
	var groups unsafe.Pointer
	if len(r.Groups) > 0 {
		groups = unsafe.Pointer(&r.Groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(r.Groups)), uintptr(groups), 0); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(r.GID), keep); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(r.UID), keep); errno != 0 {
		return errno
	}
	return nil
}
