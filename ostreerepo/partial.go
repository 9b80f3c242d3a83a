package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// IsPartial reports whether ostree knows that a commit is incomplete.
func (r *Repo) IsPartial(c objects.Checksum) bool {
	_, err := os.Lstat(r.partialPath(c))
	return err == nil
}

// MarkPartial tells ostree that a commit is incomplete, as its own fsck does: then the commit's objects are looked for again when it
// is pulled, and those that are missing are no error elsewhere. A pull that completes the commit takes the mark away.
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

func (r *Repo) partialPath(c objects.Checksum) string {
	return filepath.Join(r.path, "state", c.String()+".commitpartial")
}

// Discard deletes the file of a damaged object, so that a good copy can land: ostree keeps what it has, and its own way, `fsck --delete`,
// would look at the whole repository and mark every commit that shares the object. The caller has found the damage, keeps others from
// landing meanwhile, and brings the good copy. That there is no such file is no error.
func (r *Repo) Discard(kind objects.Kind, c objects.Checksum) error {
	if err := os.Remove(r.objectPath(kind, c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete the damaged object %s.%s: %w", c, kind, withCause(err))
	}
	return nil
}
