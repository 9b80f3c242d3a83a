package main

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// sysroot is where an OSTree host has the root of its physical file system,
// with the repository, mounted read-only.
const sysroot = "/sysroot"

// makeWritable remounts path if it is a read-only mount. That concerns the
// whole mount namespace that the process is in. A path that does not exist is
// nobody's repository.
func makeWritable(path string) error {
	var stat unix.Statfs_t
	err := unix.Statfs(path, &stat)
	if errors.Is(err, fs.ErrNotExist) || err == nil && stat.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	if err == nil {
		err = unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|keptFlags(stat.Flags), "")
	}
	if err != nil {
		return fmt.Errorf("remount %s: %w", path, err)
	}
	return nil
}

// keptFlags are the mount flags that stay when a mount becomes writable. The
// numbers in statfs are those of mount, except that of relatime.
func keptFlags(flags int64) uintptr {
	const same = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME
	kept := uintptr(flags) & same
	if flags&unix.ST_RELATIME != 0 {
		kept |= unix.MS_RELATIME
	}
	return kept
}
