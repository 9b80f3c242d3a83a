//go:build systemimage

package systemimage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// node is what an OSTree commit keeps of a file system entry.
type node struct {
	// Mode is st_mode: type, permissions, setuid, setgid and sticky bits.
	Mode, UID, GID uint32
	// Content is the sha256 of a regular file.
	Content [sha256.Size]byte
	Target  string
	Xattrs  map[string]string
}

func (n node) equal(other node) bool {
	return n.Mode == other.Mode && n.UID == other.UID && n.GID == other.GID &&
		n.Content == other.Content && n.Target == other.Target && maps.Equal(n.Xattrs, other.Xattrs)
}

func (n node) String() string {
	text := fmt.Sprintf("mode %o owner %d:%d", n.Mode, n.UID, n.GID)
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		text += fmt.Sprintf(" content %x", n.Content[:6])
	case unix.S_IFLNK:
		text += fmt.Sprintf(" -> %q", n.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(n.Xattrs)) {
		text += fmt.Sprintf(" %s=%q", name, n.Xattrs[name])
	}
	return text
}

// tree maps paths relative to the root ("." is the root) to nodes.
type tree map[string]node

// readTree reads a directory and all below it. The owner must be able to read
// everything there: it is for root.
func readTree(root string) (tree, error) {
	read := tree{}
	err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		read[name], err = readNode(file)
		return err
	})
	return read, err
}

func readNode(file string) (node, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(file, &stat); err != nil {
		return node{}, fmt.Errorf("%s: %w", file, err)
	}
	read := node{Mode: stat.Mode, UID: stat.Uid, GID: stat.Gid}
	var err error
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		read.Content, err = contentOf(file)
	case unix.S_IFLNK:
		read.Target, err = os.Readlink(file)
	}
	if err != nil {
		return node{}, err
	}
	read.Xattrs, err = xattrsOf(file)
	return read, err
}

func contentOf(name string) (sum [sha256.Size]byte, err error) {
	file, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

func xattrsOf(file string) (map[string]string, error) {
	buffer := make([]byte, 1<<16)
	size, err := unix.Llistxattr(file, buffer)
	if err != nil {
		return nil, fmt.Errorf("%s: list xattrs: %w", file, err)
	}
	xattrs := map[string]string{}
	value := make([]byte, 1<<16)
	for name := range bytes.SplitSeq(bytes.TrimSuffix(buffer[:size], []byte{0}), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		length, err := unix.Lgetxattr(file, string(name), value)
		if err != nil {
			return nil, fmt.Errorf("%s: xattr %s: %w", file, name, err)
		}
		xattrs[string(name)] = string(value[:length])
	}
	return xattrs, nil
}

// factoryVar is where /var of an image goes on ostree before 2024.3.
const factoryVar = "usr/share/factory/var"

// mapped applies the path rules to what a runtime unpacked: /etc and, if
// varToFactory is set, /var move below /usr, and what only a running system
// fills is empty.
func (t tree) mapped(varToFactory bool) tree {
	moved := tree{}
	for name, entry := range t {
		top, rest, below := strings.Cut(name, "/")
		switch top {
		case "etc":
			top = "usr/etc"
		case "var":
			if varToFactory {
				top = factoryVar
			}
		case "run", "tmp", "proc", "sys", "dev":
			if below {
				continue
			}
		}
		if below {
			top += "/" + rest
		}
		moved[top] = entry
	}
	if varToFactory {
		for dir := path.Dir(factoryVar); dir != "usr"; dir = path.Dir(dir) {
			if _, ok := moved[dir]; !ok {
				moved[dir] = node{Mode: unix.S_IFDIR | 0o755} // made for /var's sake
			}
		}
	}
	return moved
}

// differences says what distinguishes two trees, a line per path, sorted.
func (t tree) differences(other tree, name, otherName string) []string {
	var lines []string
	for at, entry := range t {
		switch counterpart, ok := other[at]; {
		case !ok:
			lines = append(lines, fmt.Sprintf("%s: only in %s: %s", at, name, entry))
		case !entry.equal(counterpart):
			lines = append(lines, fmt.Sprintf("%s: %s has %s; %s has %s", at, name, entry, otherName, counterpart))
		}
	}
	for at, entry := range other {
		if _, ok := t[at]; !ok {
			lines = append(lines, fmt.Sprintf("%s: only in %s: %s", at, otherName, entry))
		}
	}
	slices.Sort(lines)
	return lines
}
