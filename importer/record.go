package importer

import (
	"context"
	"errors"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// recorder keeps what is known of the images of a repository besides their commits.
type recorder struct {
	repo  *ostreerepo.Repo
	close func(*ostreerepo.Staging)
}

func (im *Importer) recorder() recorder { return recorder{repo: im.repo, close: im.closeStaging} }

// changeRecord changes what is recorded of a stored image. Nothing is written, and no lock taken,
// where that changes nothing.
func (im *Importer) changeRecord(ctx context.Context, ref string, image stored.Image, edit func(*stored.Record)) error {
	n := im.recorder()
	if !n.changes(ref, image, edit) && !n.hasEarlierNotes(image.Commit) {
		return nil
	}
	lock, err := im.lock(ctx, StageLand, false, nil)
	if err != nil {
		return err
	}
	defer lock.Close()
	return n.change(ctx, ref, image, edit)
}

// changes reports whether a change of an image's record has something to write.
func (n recorder) changes(ref string, image stored.Image, edit func(*stored.Record)) bool {
	before, err := stored.ReadRecord(n.repo, ref, image)
	after := before
	edit(&after)
	return err != nil || before != after
}

// change changes what is recorded of a stored image, unless that changes nothing or the ref names
// another image by now. The caller holds the lock that keeps a collection away.
func (n recorder) change(ctx context.Context, ref string, image stored.Image, edit func(*stored.Record)) error {
	if now, err := n.repo.Resolve(ref); err != nil || now != image.Commit {
		return err
	}
	if err := n.dropEarlierNotes(ctx, image.Commit); err != nil {
		return err
	}
	if !n.changes(ref, image, edit) {
		return nil
	}
	r, err := stored.ReadRecord(n.repo, ref, image)
	if err != nil { // ostree would keep a damaged commit in the place of an equal good one
		if err := n.discard(ctx, ref); err != nil {
			return err
		}
	}
	edit(&r)
	return n.land(ctx, r)
}

// discard drops the record of an image, and its commit if that is damaged.
func (n recorder) discard(ctx context.Context, imageRef string) error {
	ref := reference.RecordRef(imageRef)
	commit, err := n.repo.Resolve(ref)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return nil
	}
	if err := n.repo.DeleteRefs(ctx, ref); err != nil || commit.IsZero() {
		return err
	}
	if _, err := n.repo.Commit(commit); errors.Is(err, ostreerepo.ErrCorrupted) {
		return n.repo.Discard(objects.KindCommit, commit)
	}
	return nil
}

// land writes records, and drops those that tell nothing.
func (n recorder) land(ctx context.Context, records ...stored.Record) error {
	st, err := n.repo.NewStaging()
	if err != nil {
		return err
	}
	defer n.close(st)
	var empty []string
	for _, r := range records {
		if r.IsEmpty() {
			empty = append(empty, reference.RecordRef(r.ImageRef))
		} else if err := stageRecord(st, r); err != nil {
			return err
		}
	}
	if len(empty) < len(records) {
		crashpoint.Pass("prepare note written")
		if err := st.Land(ctx); err != nil {
			return err
		}
	}
	return n.repo.DeleteRefs(ctx, empty...)
}

// stageRecord writes a record that is to land with whatever else the staging holds.
func stageRecord(st *ostreerepo.Staging, r stored.Record) error {
	commit, err := stored.WriteRecord(st, r)
	if err != nil {
		return err
	}
	return st.SetRef(reference.RecordRef(r.ImageRef), commit)
}

// hasEarlierNotes reports whether detached metadata of an image's commit hold what an earlier
// version of this program wrote.
func (n recorder) hasEarlierNotes(commit objects.Checksum) bool {
	detached, err := n.repo.Detached(commit)
	if err != nil {
		return false
	}
	_, found := stored.WithoutOurs(detached)
	return found
}

// dropEarlierNotes removes from the detached metadata of an image's commit what an earlier version
// of this program wrote there, after it was recorded where it belongs, for each image that is this
// commit. Detached metadata that are empty then, or that nobody can read, are deleted:
// ostree-prepare-root looks for a signature in those that exist, and finds none. At each moment the
// file is the one before, the one after, or none. The caller holds the lock that keeps a collection
// away.
func (n recorder) dropEarlierNotes(ctx context.Context, commit objects.Checksum) error {
	detached, err := n.repo.Detached(commit)
	switch {
	case errors.Is(err, ostreerepo.ErrNoObject):
		return nil
	case errors.Is(err, ostreerepo.ErrCorrupted):
		return n.repo.Discard(objects.KindCommitMeta, commit)
	case err != nil:
		return err
	}
	rest, found := stored.WithoutOurs(detached)
	if !found {
		return nil
	}
	if err := n.moveNotes(ctx, commit); err != nil {
		return err
	}
	if len(rest) == 0 {
		return n.repo.Discard(objects.KindCommitMeta, commit)
	}
	st, err := n.repo.NewStaging()
	if err != nil {
		return err
	}
	defer n.close(st)
	if err := st.WriteDetached(commit, rest); err != nil {
		return err
	}
	return st.LandDetached(ctx, commit)
}

// moveNotes records what detached metadata tell of the images that are this commit.
func (n recorder) moveNotes(ctx context.Context, commit objects.Checksum) error {
	refs, err := n.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return err
	}
	var records []stored.Record
	for _, ref := range refs {
		if ref.Err != nil || ref.Commit != commit {
			continue
		}
		image, err := stored.ReadImage(n.repo, commit)
		if err != nil { // it is imported again before anything is said of it
			return nil
		}
		if r, err := stored.ReadRecord(n.repo, ref.Name, image); err == nil && !r.IsEmpty() {
			records = append(records, r)
		}
	}
	return n.land(ctx, records...)
}

// dropAllEarlierNotes is dropEarlierNotes for all commits of images that a ref names, deployments
// among them.
func (n recorder) dropAllEarlierNotes(ctx context.Context) error {
	refs, err := n.repo.Refs("")
	if err != nil {
		return err
	}
	done := map[objects.Checksum]bool{}
	for _, ref := range refs {
		if ref.Err != nil || done[ref.Commit] {
			continue
		}
		done[ref.Commit] = true
		if !n.hasEarlierNotes(ref.Commit) || !n.isImage(ref.Commit) {
			continue
		}
		if err := n.dropEarlierNotes(ctx, ref.Commit); err != nil {
			return err
		}
	}
	return nil
}

// isImage reports whether a commit is an image's.
func (n recorder) isImage(commit objects.Checksum) bool {
	m, _, err := stored.Manifest(n.repo, commit)
	return err == nil && m != nil
}
