package dbus

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// The daemon's unit hides parts of the host from it: /tmp is another directory, /home and /root are empty. A path there means
// something else to the daemon than to its caller, who would be told that a file is missing, or look in vain for what was written.

// place is a path that the daemon opens for a call.
type place struct {
	path    string
	written bool // it is a destination
}

// imagePlaces returns the path of an image, if it has one that is opened: not if the caller has opened it.
func imagePlaces(image reference.Image, opened *importer.Descriptor) []place {
	if path, _, isPath := image.Path(); isPath && opened == nil {
		return []place{{path: path}}
	}
	return nil
}

// originPlaces is imagePlaces for the image that a text names, if it names one.
func originPlaces(text string, opened *importer.Descriptor) []place {
	image, isImage := storedImage(text)
	if !isImage {
		return nil
	}
	return imagePlaces(image, opened)
}

// accessPlaces returns the paths of the files that say how a source is reached.
func accessPlaces(access importer.Access) []place {
	var places []place
	if access.AuthFile != "" && access.AuthFD == nil {
		places = append(places, place{path: access.AuthFile})
	}
	if access.CertDir != "" {
		places = append(places, place{path: access.CertDir})
	}
	if len(access.KeyFDs) > 0 {
		return places
	}
	for _, key := range access.DecryptionKeys {
		if path, _, isFile := importer.KeyFile(key); isFile {
			places = append(places, place{path: path})
		}
	}
	return places
}

// destinationPlaces returns the path of a destination that cleanDestination has accepted, if it has one that is opened.
func destinationPlaces(destination string, opened *importer.Descriptor) []place {
	if opened != nil {
		return nil
	}
	kind, path, _ := strings.Cut(destination, ":")
	file, isPath := pathDestinations[kind]
	if !isPath {
		return nil
	}
	if !file && kind != "dir" {
		path, _, _ = strings.Cut(path, ":")
	}
	return []place{{path: path, written: true}}
}

// checkPlaces refuses the places that are not the same for the daemon and for the process that called it. Where the process has
// ended, the view of the host's first process counts. Nobody is refused because a view cannot be read.
func checkPlaces(pid uint32, places []place) error {
	if len(places) == 0 {
		return nil
	}
	ours, err := readView("self")
	if err != nil {
		return nil
	}
	theirs, err := readView(strconv.FormatUint(uint64(pid), 10))
	if err != nil {
		theirs, err = readView("1")
	}
	if err != nil {
		return nil
	}
	for _, p := range places {
		path := resolvePath(p.path)
		if other, differs := ours.differs(theirs, path); differs {
			return p.unseen(other)
		}
	}
	return nil
}

// unseen is the error of a place below other, a directory that is not the daemon's.
func (p place) unseen(other string) error {
	e := &importer.Error{
		Kind: importer.KindInvalidOption,
		Err:  fmt.Errorf("the daemon cannot see %s: its %s is not the one of its callers", p.path, other),
		Hint: "name a path that both see, such as one below /srv, or use ostree-importctl --local",
	}
	if p.written {
		e.Err = fmt.Errorf("the daemon cannot write %s for you to see: its %s is not the one of its callers", p.path, other)
	}
	return e
}

// maxView bounds, in bytes, what is read of a list of mounts, which the process that it is about may have made long.
const maxView = 4 << 20

// view is where a process finds the files of the host: its mounts, in the format of proc_pid_mountinfo(5).
type view []*mountinfo.Info

func readView(process string) (view, error) {
	f, err := os.Open(filepath.Join("/proc", process, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(io.LimitReader(f, maxView), nil)
	if err == nil && len(mounts) == 0 {
		err = fmt.Errorf("%s lists no mount", f.Name())
	}
	return mounts, err
}

// differs reports whether a path without symbolic links is another file in the other view, and which mount point of the two
// views is to blame.
func (v view) differs(other view, path string) (blamed string, differs bool) {
	mine, theirs := v.mountOf(path), other.mountOf(path)
	if mine == nil || theirs == nil {
		return "", false
	}
	if mine.Major == theirs.Major && mine.Minor == theirs.Minor && inFileSystem(mine, path) == inFileSystem(theirs, path) {
		return "", false
	}
	if len(theirs.Mountpoint) > len(mine.Mountpoint) {
		return theirs.Mountpoint, true
	}
	return mine.Mountpoint, true
}

// inFileSystem is the path, within the file system that is mounted, of a path below the mount point.
func inFileSystem(mount *mountinfo.Info, path string) string {
	return filepath.Join(mount.Root, strings.TrimPrefix(path, mount.Mountpoint))
}

// mountOf returns the mount that a path leads to, or nil. It goes from mount to mount as the kernel does: a list may have mounts
// that others hide.
func (v view) mountOf(path string) *mountinfo.Info {
	var at *mountinfo.Info
	for range v { // no path leads through more
		next := v.next(at, path)
		if next == nil {
			break
		}
		at = next
	}
	return at
}

// next returns the first mount on a mount that a path meets; nil stands for what the root is mounted on.
func (v view) next(on *mountinfo.Info, path string) (first *mountinfo.Info) {
	for _, m := range v {
		if on == nil && (m.Mountpoint != "/" || v.has(m.Parent) && m.Parent != m.ID) ||
			on != nil && (m.Parent != on.ID || m.ID == on.ID) || !below(path, m.Mountpoint) {
			continue
		}
		if first == nil || len(m.Mountpoint) < len(first.Mountpoint) {
			first = m
		}
	}
	return first
}

func (v view) has(id int) bool {
	for _, m := range v {
		if m.ID == id {
			return true
		}
	}
	return false
}

// below reports whether a path is that of a directory, or of something below it.
func below(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// maxPathLinks is how many symbolic links of a path are followed, as in the kernel.
const maxPathLinks = 40

// resolvePath follows the symbolic links of an absolute path as far as there is something there.
func resolvePath(path string) string {
	resolved, rest, links := "/", strings.TrimPrefix(path, "/"), 0
	for rest != "" && links < maxPathLinks {
		name, after, _ := strings.Cut(rest, "/")
		rest = after
		next := filepath.Join(resolved, name)
		target, err := os.Readlink(next)
		if err != nil {
			resolved = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			resolved = "/"
		}
		rest = strings.TrimPrefix(target, "/") + "/" + rest
	}
	return filepath.Join(resolved, rest)
}
