package command

import (
	"golang.org/x/sys/unix"
)

// socketDir is where the sockets of the host's services are.
const socketDir = "/run"

// confine takes from the calling thread, and from what it starts, the network and the sockets of
// the host's services. It does what it can: without privileges, or where a sandbox forbids it,
// there is nothing to take but what the program's user has anyway.
func confine() {
	_ = unix.Unshare(unix.CLONE_NEWNET)
	if unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS) != nil {
		return
	}
	if unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return // a mount would show in other namespaces
	}
	_ = unix.Mount("tmpfs", socketDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "size=4k,mode=0755")
}
