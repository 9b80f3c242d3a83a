package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// IsPartial reports whether ostree knows that a commit is incomplete.
func (r *Repo) IsPartial(c objects.Checksum) bool {
	_, err := os.Lstat(r.partialPath(c))
	return err == nil
}

// MarkPartial tells ostree that a commit is incomplete, as its own fsck does: then the commit's
// objects are looked for again when it is pulled, and those that are missing are no error
// elsewhere. A pull that completes the commit takes the mark away.
func (r *Repo) MarkPartial(c objects.Checksum) error {
	f, err := os.OpenFile(r.partialPath(c), os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("mark the commit %s as incomplete: %w", c, withCause(err))
	}
	return nil
}

// doubt marks those of the commits as incomplete that are there without a ref, as a killed prune
// leaves them, so that the pull which is to give them a ref looks for each of their objects.
func (r *Repo) doubt(commits ...objects.Checksum) error {
	var there []objects.Checksum
	for _, c := range commits {
		if r.Has(objects.KindCommit, c) {
			there = append(there, c)
		}
	}
	if len(there) == 0 {
		return nil
	}
	var refs []Ref
	for _, dir := range refDirs {
		var err error
		refs, err = appendRefs(refs, filepath.Join(r.path, "refs", dir), "")
		if err != nil && !isNoFile(err) {
			return err
		}
	}
	for _, c := range there {
		if slices.ContainsFunc(refs, func(ref Ref) bool { return ref.Commit == c }) {
			continue
		}
		if err := r.MarkPartial(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) partialPath(c objects.Checksum) string {
	return filepath.Join(r.path, "state", c.String()+".commitpartial")
}

// Discard deletes the file of a damaged object, so that a good copy can land: ostree keeps what it
// has, and its own way, `fsck --delete`, would look at the whole repository and mark every commit
// that shares the object. The caller has found the damage, keeps others from landing meanwhile, and
// brings the good copy. That there is no such file is no error.
func (r *Repo) Discard(kind objects.Kind, c objects.Checksum) error {
	if err := os.Remove(r.objectPath(kind, c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete the damaged object %s.%s: %w", c, kind, withCause(err))
	}
	return nil
}
