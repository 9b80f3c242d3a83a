package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// The daemon's unit hides parts of the host from it: /tmp is another directory, /home and /root are
// empty. A path there means something else to the daemon than to its caller, who would be told that
// a file is missing, or look in vain for what was written.

// place is a path that the daemon opens for a call.
type place struct {
	path    string
	written bool // it is a destination
}

// imagePlaces returns the path of an image, if it has one that is opened: not if the caller has
// opened it.
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

// destinationPlaces returns the path of a destination that cleanDestination has accepted, if it has
// one that is opened.
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

// checkPlaces refuses the places that are not the same for the daemon and for the process that
// called it. Where the process has ended, or its mounts are too many to look at, the view of the
// host's first process counts. Nobody is refused because a view cannot be read. An error is about a
// place, or ctx's.
func checkPlaces(ctx context.Context, pid uint32, places []place) error {
	ours, err := readView(ctx, "self")
	if err != nil {
		return ctx.Err()
	}
	theirs, err := readView(ctx, strconv.FormatUint(uint64(pid), 10))
	if err != nil {
		theirs, err = readView(ctx, "1")
	}
	if err != nil {
		return ctx.Err()
	}
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
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

// maxView and maxMounts bound, in bytes and in number, a list of mounts, which the process that it
// is about may have made long. A longer one is not looked at.
const (
	maxView   = 4 << 20
	maxMounts = 16 << 10
)

// view is where a process finds the files of the host.
type view struct {
	root *mountinfo.Info // nil for none
	on   map[spot]*mountinfo.Info
	// tops are the last of those mounts that lie on each other at one mount point, by the first.
	tops map[*mountinfo.Info]*mountinfo.Info
}

// spot is a mount point on a mount.
type spot struct {
	mount int // its id
	point string
}

func readView(ctx context.Context, process string) (*view, error) {
	f, err := os.Open(filepath.Join("/proc", process, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v, err := parseView(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return v, nil
}

// parseView reads a list of mounts in the format of proc_pid_mountinfo(5).
func parseView(ctx context.Context, list io.Reader) (*view, error) {
	limited := &io.LimitedReader{R: list, N: maxView + 1}
	count := 0
	mounts, err := mountinfo.GetMountsFromReader(limited, func(*mountinfo.Info) (skip, stop bool) {
		count++
		return false, count > maxMounts || ctx.Err() != nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case count > maxMounts || limited.N == 0:
		return nil, fmt.Errorf("more than %d mounts, or %d bytes", maxMounts, maxView)
	case err != nil:
		return nil, err
	case len(mounts) == 0:
		return nil, errors.New("no mount is listed")
	}
	return newView(mounts), nil
}

func newView(mounts []*mountinfo.Info) *view {
	v := &view{
		on:   make(map[spot]*mountinfo.Info, len(mounts)),
		tops: make(map[*mountinfo.Info]*mountinfo.Info),
	}
	ids := make(map[int]bool, len(mounts))
	for _, m := range mounts {
		ids[m.ID] = true
	}
	for _, m := range mounts {
		at := spot{m.Parent, m.Mountpoint}
		switch {
		case m.Parent != m.ID && ids[m.Parent]:
			if v.on[at] == nil {
				v.on[at] = m
			}
		case m.Mountpoint == "/" && v.root == nil:
			v.root = m
		}
	}
	return v
}

// differs reports whether a path without symbolic links is another file in the other view, and
// which mount point of the two views is to blame.
func (v *view) differs(other *view, path string) (blamed string, differs bool) {
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

// inFileSystem is the path, within the file system that is mounted, of a path below the mount
// point.
func inFileSystem(mount *mountinfo.Info, path string) string {
	return filepath.Join(mount.Root, strings.TrimPrefix(path, mount.Mountpoint))
}

// mountOf returns the mount that a clean absolute path leads to, or nil. It goes from mount to
// mount as the kernel does: a list may have mounts that others hide.
func (v *view) mountOf(path string) *mountinfo.Info {
	if v.root == nil {
		return nil
	}
	at := v.top(v.root)
	for end := 1; path != "/" && end <= len(path); end++ {
		if end < len(path) && path[end] != '/' {
			continue
		}
		if next := v.on[spot{at.ID, path[:end]}]; next != nil {
			at = v.top(next)
		}
	}
	return at
}

// top returns the mount that hides all others at the mount point of bottom, which are on it.
func (v *view) top(bottom *mountinfo.Info) *mountinfo.Info {
	if top := v.tops[bottom]; top != nil {
		return top
	}
	top := bottom
	for range v.on { // there are no more
		next := v.on[spot{top.ID, top.Mountpoint}]
		if next == nil {
			break
		}
		top = next
	}
	v.tops[bottom] = top
	return top
}

// maxPathLinks and maxPathNames are how many symbolic links of a path are followed, as in the
// kernel, and how many names are looked at for that.
const (
	maxPathLinks = 40
	maxPathNames = 1024
)

// resolvePath follows the symbolic links of an absolute path as far as there is something there.
func resolvePath(path string) string {
	resolved, rest, links := "/", strings.TrimPrefix(path, "/"), 0
	for names := 0; rest != "" && links < maxPathLinks && names < maxPathNames; names++ {
		name, after, _ := strings.Cut(rest, "/")
		next := filepath.Join(resolved, name)
		target, err := os.Readlink(next)
		if errors.Is(err, unix.EINVAL) { // it is no link
			resolved, rest = next, after
			continue
		}
		if err != nil {
			break
		}
		links++
		if filepath.IsAbs(target) {
			resolved = "/"
		}
		rest = strings.TrimPrefix(target, "/") + "/" + after
	}
	return filepath.Join(resolved, rest)
}
