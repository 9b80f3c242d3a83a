package proxyclient

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// shelter makes a local image reachable for a child whose user may not enter a
// directory above it: in a mount namespace of the child's own, that directory
// is replaced by one that holds nothing but the way to the image. The path stays
// as it is, because signature policies are about paths. Handing the image over
// as a descriptor is not enough: the proxy resolves /proc/self/fd/N to the path
// and looks at each directory of it.
type shelter struct {
	closed string // the topmost directory that the user can't enter
	image  string // below it
}

// newShelter returns what user needs to reach path, which has no symbolic links,
// or nil if that is nothing. Access lists are not looked at: at worst a shelter
// is made that was not needed.
func newShelter(path string, user *command.User) (*shelter, error) {
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		dir := path[:i]
		info, err := os.Stat(dir)
		if err != nil {
			return nil, err
		}
		if !mayEnter(info, user) {
			return &shelter{closed: dir, image: path}, nil
		}
	}
	return nil, nil
}

func mayEnter(dir fs.FileInfo, user *command.User) bool {
	bit := fs.FileMode(0o001)
	switch owner := dir.Sys().(*syscall.Stat_t); {
	case owner.Uid == user.UID:
		bit = 0o100
	case owner.Gid == user.GID:
		bit = 0o010
	}
	return dir.Mode()&bit != 0
}

// enter moves the calling thread into the shelter, from which it can't return:
// it must be locked to its goroutine, and end with it.
func (s *shelter) enter() error {
	if err := s.build(); err != nil {
		return &Error{Class: ClassConfig, Op: "start", Err: err,
			Message: fmt.Sprintf("cannot make %s reachable for the proxy's user, who may not enter %s: %v; move the image to a directory that everybody may enter", s.image, s.closed, err)}
	}
	return nil
}

// build works on descriptors only: whoever owns a directory of the path can
// replace what is below it at any moment, also by a link to somewhere else.
func (s *shelter) build() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("new mount namespace: %w", err)
	}
	unix.Umask(0o022) // this thread's alone, by CLONE_FS
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	image, err := openExactly(s.image) // before it is covered
	if err != nil {
		return err
	}
	defer unix.Close(image)
	cover, err := coverWithEmpty(s.closed)
	if err != nil {
		return fmt.Errorf("cover %s: %w", s.closed, err)
	}
	defer unix.Close(cover)
	point := strings.TrimPrefix(s.image, s.closed+"/")
	if err := makeMountPoint(cover, point, image); err != nil {
		return err
	}
	tree, err := unix.OpenTree(image, "", unix.OPEN_TREE_CLONE|unix.O_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("clone the mount of %s: %w", s.image, err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", cover, point, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount on %s: %w", s.image, err)
	}
	return nil
}

// openExactly opens a path that has no symbolic links any more, for use as a
// place only.
func openExactly(path string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// coverWithEmpty mounts an empty file system on the directory, and returns its
// root.
func coverWithEmpty(dir string) (root int, err error) {
	place, err := openExactly(dir)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	empty, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(empty)
	for _, option := range [][2]string{{"mode", "0755"}, {"size", "64k"}} {
		if err := unix.FsconfigSetString(empty, option[0], option[1]); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(empty); err != nil {
		return -1, err
	}
	root, err = unix.Fsmount(empty, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, err
	}
	if err := unix.MoveMount(root, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		unix.Close(root)
		return -1, err
	}
	return root, nil
}

// makeMountPoint makes what image can be mounted on at path below the directory
// root.
func makeMountPoint(root int, path string, image int) error {
	for i, b := range []byte(path) {
		if b == '/' {
			if err := unix.Mkdirat(root, path[:i], 0o755); err != nil {
				return &fs.PathError{Op: "mkdir", Path: path[:i], Err: err}
			}
		}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(image, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := unix.Mkdirat(root, path, 0o755); err != nil {
			return &fs.PathError{Op: "mkdir", Path: path, Err: err}
		}
		return nil
	}
	if err := unix.Mknodat(root, path, unix.S_IFREG|0o444, 0); err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return nil
}

// resolveLocal returns a reference to a local image with its path resolved, and
// the path. One with a colon can't be written in a reference.
func resolveLocal(transport, path, rest string) (ref, resolved string, err error) {
	if resolved, err = filepath.Abs(path); err != nil {
		return "", "", err
	}
	if resolved, err = filepath.EvalSymlinks(resolved); err != nil {
		return "", "", err
	}
	if transport != "dir" && strings.Contains(resolved, ":") {
		return "", "", fmt.Errorf("%s is a link to %s, whose name has a colon", path, resolved)
	}
	return transport + ":" + resolved + rest, resolved, nil
}
