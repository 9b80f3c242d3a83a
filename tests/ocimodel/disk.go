package ocimodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ReadDisk reads the tree below a directory of the file system. Reading trusted xattrs takes root.
func ReadDisk(root string) (map[string]Node, error) {
	nodes := map[string]Node{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n, err := readNode(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		nodes[strings.TrimPrefix(strings.TrimPrefix(path, root), "/")] = n
		return nil
	})
	return nodes, err
}

func readNode(path string) (Node, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Node{}, err
	}
	n := Node{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid)}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.Type = Dir
	case unix.S_IFREG:
		n.Type = File
		if n.Content, err = os.ReadFile(path); err != nil {
			return n, err
		}
	case unix.S_IFLNK:
		n.Type = Symlink
		if n.Target, err = os.Readlink(path); err != nil {
			return n, err
		}
	default:
		return n, fmt.Errorf("mode %o is none of directory, file and symbolic link", st.Mode)
	}
	n.Xattrs, err = readXattrs(path)
	return n, err
}

// readXattrs gives nil for none.
func readXattrs(path string) (map[string]string, error) {
	list := make([]byte, 1<<16)
	size, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || size == 0 {
		return nil, err
	}
	xattrs := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		value := make([]byte, 1<<16)
		size, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("xattr %s: %w", name, err)
		}
		xattrs[name] = string(value[:size])
	}
	return xattrs, nil
}
