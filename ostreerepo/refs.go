package ostreerepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Ref is a local ref. Err says why Commit could not be read; then Commit is zero.
type Ref struct {
	Name   string
	Commit objects.Checksum
	Err    error
}

// CheckRef returns nil if ostree can hold a local ref of this name.
func CheckRef(ref string) error {
	return checkRef(ref)
}

func checkRef(ref string) error {
	for component := range strings.SplitSeq(ref, "/") {
		if component == "" || component == "." || component == ".." || component[0] == '-' || len(component) > 255 {
			return fmt.Errorf("%q can't be the name of a ref", ref)
		}
		for _, b := range []byte(component) {
			if !isRefByte(b) {
				return fmt.Errorf("%q can't be the name of a ref: it contains %q", ref, b)
			}
		}
	}
	return nil
}

func isRefByte(b byte) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		return true
	}
	return strings.IndexByte("-._", b) >= 0
}

func (r *Repo) refPath(ref string) string {
	return filepath.Join(r.path, "refs/heads", ref)
}

// Resolve returns the commit of a local ref. Errors: ErrNoRef, ErrCorrupted.
func (r *Repo) Resolve(ref string) (objects.Checksum, error) {
	if err := checkRef(ref); err != nil {
		return objects.Checksum{}, fmt.Errorf("resolve: %w: %w", ErrNoRef, err)
	}
	c, err := readRef(r.refPath(ref))
	switch {
	case err == nil:
		return c, nil
	case isNoFile(err):
		return objects.Checksum{}, fmt.Errorf("resolve: %w: %s", ErrNoRef, ref)
	}
	return objects.Checksum{}, fmt.Errorf("resolve %s: %w", ref, err)
}

// RefTime returns when a local ref was last written. Errors: ErrNoRef.
func (r *Repo) RefTime(ref string) (time.Time, error) {
	if err := checkRef(ref); err != nil {
		return time.Time{}, fmt.Errorf("time of a ref: %w: %w", ErrNoRef, err)
	}
	info, err := os.Stat(r.refPath(ref))
	switch {
	case isNoFile(err) || err == nil && !info.Mode().IsRegular():
		return time.Time{}, fmt.Errorf("time of a ref: %w: %s", ErrNoRef, ref)
	case err != nil:
		return time.Time{}, fmt.Errorf("time of the ref %s: %w", ref, err)
	}
	return info.ModTime(), nil
}

// isNoFile reports whether err says that a path does not name a file.
func isNoFile(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR)
}

// readRef reads a ref's file, which holds a checksum and a line feed.
func readRef(path string) (objects.Checksum, error) {
	// O_NONBLOCK: a fifo has no place here, but must not stop us.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return objects.Checksum{}, err
	}
	defer f.Close()
	const enough = 128
	b, err := io.ReadAll(io.LimitReader(f, enough))
	if err != nil {
		return objects.Checksum{}, err
	}
	c, err := objects.ParseChecksum(strings.TrimRight(string(b), " \t\r\n"))
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("%w: the file of the ref holds no checksum (%w)", ErrCorrupted, err)
	}
	return c, nil
}

// refDirs are the directories below refs/ in which there are refs.
var refDirs = [...]string{"heads", "remotes", "mirrors"}

// Refs returns the local refs below prefix + "/", or all for an empty prefix, sorted by name. A ref
// that can't be read is in the result with its Err; it does not fail the listing. Like ostree it
// passes over files whose names can't be refs.
func (r *Repo) Refs(prefix string) ([]Ref, error) {
	if prefix != "" {
		if err := checkRef(prefix); err != nil {
			return nil, fmt.Errorf("list refs: %w", err)
		}
	}
	refs, err := appendRefs(nil, r.refPath(prefix), prefix)
	if err != nil && !isNoFile(err) {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(a.Name, b.Name) })
	return refs, nil
}

// appendRefs appends the refs below dir, which is the directory of the refs that begin with name.
func appendRefs(refs []Ref, dir, name string) ([]Ref, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return refs, err
	}
	for _, entry := range entries {
		path, child := dir+"/"+entry.Name(), strings.TrimPrefix(name+"/"+entry.Name(), "/")
		if checkRef(child) != nil {
			continue
		}
		var commit objects.Checksum
		if entry.IsDir() {
			refs, err = appendRefs(refs, path, child)
		} else if commit, err = readRef(path); err == nil {
			refs = append(refs, Ref{Name: child, Commit: commit})
		}
		// What has gone since the directory was read is no ref any more.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			refs = append(refs, Ref{Name: child, Err: fmt.Errorf("ref %s: %w", child, err)})
		}
	}
	return refs, nil
}

// SetRef makes ref name the commit c, which must be in the repository, whether the ref exists or
// not, and is whole or not. Errors: ErrNoObject.
func (r *Repo) SetRef(ctx context.Context, ref string, c objects.Checksum) error {
	if err := checkRef(ref); err != nil {
		return fmt.Errorf("set ref: %w", err)
	}
	// ostree itself would set a ref to nothing.
	if !r.Has(objects.KindCommit, c) {
		return fmt.Errorf("set ref %s: %w: commit %s", ref, ErrNoObject, c)
	}
	if err := r.deleteBrokenRef(ctx, ref); err != nil {
		return fmt.Errorf("set ref %s: %w", ref, err)
	}
	if err := r.ostree(ctx, "refs", "--force", "--create="+ref, c.String()); err != nil {
		return fmt.Errorf("set ref %s: %w", ref, err)
	}
	return nil
}

// DeleteRefs deletes refs, also those whose files are broken. Refs that don't exist are passed
// over. After an error some may be deleted and others not.
func (r *Repo) DeleteRefs(ctx context.Context, refs ...string) error {
	var found []string
	for _, ref := range refs {
		if err := checkRef(ref); err != nil {
			return fmt.Errorf("delete refs: %w", err)
		}
		// ostree takes prefixes: given a directory of refs it would delete them all.
		info, err := os.Lstat(r.refPath(ref))
		if isNoFile(err) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return fmt.Errorf("delete the ref %s: %w", ref, err)
		}
		found = append(found, ref)
	}
	for some := range slices.Chunk(found, maxArgs) {
		if err := r.ostree(ctx, "refs", append([]string{"--delete"}, some...)...); err != nil {
			return fmt.Errorf("delete refs: %w", err)
		}
	}
	return nil
}

// maxArgs is how many refs are named to one command, so that their names, 4 KiB long at most, are
// no more than the system takes.
const maxArgs = 256

// deleteBrokenRef deletes ref if its file holds no checksum: ostree would refuse to replace it.
func (r *Repo) deleteBrokenRef(ctx context.Context, ref string) error {
	_, err := readRef(r.refPath(ref))
	if !errors.Is(err, ErrCorrupted) {
		return nil
	}
	r.log.WithError(err).WithField("ref", ref).Warn("replacing a broken ref")
	return r.DeleteRefs(ctx, ref)
}
