package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sysroot is where an OSTree host has the root of its physical file system,
// with the repository, mounted read-only.
const sysroot = "/sysroot"

// letWrite makes the repository at path writable if it is in a read-only mount,
// as all is that was not there when systemd made the daemon's mount namespace.
// With missing it also makes the directories that are not there: nobody could
// make them in that mount.
func letWrite(path string, missing bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if missing {
		if err := makeMissing(path); err != nil {
			return fmt.Errorf("make %s: %w; `mkdir -p %s` makes it", path, err, path)
		}
	}
	return makeWritable(path)
}

// makeMissing makes the directory path, and those above it, if the nearest one
// that exists is in a read-only mount. It makes them in a writable copy of that
// mount, which nobody else sees and which ends with this function.
func makeMissing(path string) error {
	existing := path
	for {
		_, err := os.Stat(existing)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || existing == "/" {
			return err
		}
		existing = filepath.Dir(existing)
	}
	readOnly, _, err := isReadOnly(existing)
	if existing == path || err != nil || !readOnly {
		return err
	}
	mount, err := unix.OpenTree(unix.AT_FDCWD, existing, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("copy the mount of %s: %w", existing, err)
	}
	defer unix.Close(mount)
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make the copy of the mount of %s writable: %w", existing, err)
	}
	relative, made := strings.TrimPrefix(strings.TrimPrefix(path, existing), "/"), ""
	for name := range strings.SplitSeq(relative, "/") {
		made = filepath.Join(made, name)
		if err := unix.Mkdirat(mount, made, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// makeWritable remounts path if it is in a read-only mount; what is not a mount
// becomes one. That concerns the whole mount namespace that the process is in.
// A path that does not exist is nobody's repository.
func makeWritable(path string) error {
	readOnly, flags, err := isReadOnly(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !readOnly {
		return nil
	}
	remount := func() error {
		return unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|keptFlags(flags), "")
	}
	if err == nil {
		err = remount()
	}
	if errors.Is(err, unix.EINVAL) { // no mount
		if err = unix.Mount(path, path, "", unix.MS_BIND, ""); err == nil {
			err = remount()
		}
	}
	if err != nil {
		return fmt.Errorf("remount %s: %w", path, err)
	}
	return nil
}

// isReadOnly reports whether path is in a read-only mount, and the flags of that
// as statfs gives them.
func isReadOnly(path string) (readOnly bool, flags int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return false, 0, err
	}
	return stat.Flags&unix.ST_RDONLY != 0, stat.Flags, nil
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
