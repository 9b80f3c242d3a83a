package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// Copy copies a stored image with all its layers to another repository of any mode, or records it
// under another name in the same one. Commits keep their checksums. The image's ref is set last; an
// image that lacks a layer is not copied. progress may be nil.
func (im *Importer) Copy(ctx context.Context, req CopyRequest, progress func(Progress)) (*CopyResult, error) {
	var target reference.Image
	if req.Target != "" {
		parsed, err := reference.Parse(req.Target)
		if err != nil {
			return nil, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: fmt.Errorf("target: %w", err)}
		}
		target = parsed.Image
	}
	progress = steady(progress)
	destination, err := im.openDestination(ctx, req.Repository)
	if err != nil {
		return nil, err
	}
	im.Sweep(ctx)
	destination.Sweep(ctx)
	unlock, err := lockBoth(ctx, im.repo, destination, progress)
	if err != nil {
		return nil, stopped(ctx, StageCopy, classify(StageCopy, err))
	}
	defer unlock()
	source, err := im.storedImage(req.Image)
	if err != nil {
		return nil, err
	}
	if req.Target == "" {
		target = source.name
	}
	ref, err := reference.ImageRef(target)
	if err != nil {
		return nil, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	layers, err := im.layerRefs(source.Image)
	if err != nil {
		return nil, err
	}
	if progress != nil {
		p := unmeasured(StageCopy)
		p.LayersTotal = len(layers)
		progress(p)
	}
	crashpoint.Pass("copy begun")
	if destination != im.repo {
		err = destination.Pull(ctx, im.repo, append(layers, im.layerRecords(layers)...), source.Commit)
	}
	crashpoint.Pass("copy pulled")
	if err == nil {
		err = destination.SetRef(ctx, ref, source.Commit)
	}
	if err != nil {
		return nil, stopped(ctx, StageCopy, classify(StageCopy, err))
	}
	crashpoint.Pass("copy named")
	if err := im.copyRecord(ctx, destination, source, ref); err != nil {
		im.log.WithField("image", source.name).WithError(err).Warn("copying what is recorded of the image")
	}
	return &CopyResult{
		Reference: target.String(), ImageRef: ref, Repository: destination.Path(), ManifestDigest: source.Digest,
		Commit: source.Commit.String(), Layers: len(layers),
	}, nil
}

// copyRecord records for a copy what is recorded of the image; what is newer than it only where the
// name is the same.
func (im *Importer) copyRecord(ctx context.Context, destination *ostreerepo.Repo, source namedImage, ref string) error {
	r, err := stored.ReadRecord(im.repo, source.ref, source.Image)
	if err != nil {
		return err
	}
	if ref != source.ref {
		r.Update = stored.Documents{}
	}
	to := recorder{repo: destination, close: im.closeStaging}
	return to.change(ctx, ref, source.Image, func(there *stored.Record) {
		there.SignatureText, there.Update = r.SignatureText, r.Update
	})
}

// lockBoth keeps collections away from two repositories, which may be one. Copies in opposite
// directions take the locks in the same order.
func lockBoth(ctx context.Context, a, b *ostreerepo.Repo, progress func(Progress)) (unlock func(), err error) {
	repos := []*ostreerepo.Repo{a, b}
	slices.SortFunc(repos, func(x, y *ostreerepo.Repo) int { return cmp.Compare(x.Path(), y.Path()) })
	var locks []io.Closer
	unlock = func() {
		for _, lock := range locks {
			lock.Close()
		}
	}
	for _, repo := range slices.Compact(repos) {
		lock, err := repo.Lock(ctx, false, waiting(progress))
		if err != nil {
			unlock()
			return nil, err
		}
		locks = append(locks, lock)
	}
	return unlock, nil
}

// namedImage is a stored image with its name.
type namedImage struct {
	stored.Image
	name reference.Image
	ref  string
}

// storedImage reads a stored image that an operation is about to work on: it must be readable.
func (im *Importer) storedImage(name string) (namedImage, error) {
	parsed, err := reference.Parse(name)
	if err != nil {
		return namedImage{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	ref, err := reference.ImageRef(parsed.Image)
	if err != nil {
		return namedImage{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	commit, err := im.repo.Resolve(ref)
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return namedImage{}, im.noSuchImage(parsed.Image)
	}
	image := namedImage{name: parsed.Image, ref: ref}
	if err == nil {
		image.Image, err = stored.ReadImage(im.repo, commit)
	}
	if err != nil {
		return namedImage{}, damagedImage(parsed.Image, classify(StageInventory, stored.RefError(ref, err)))
	}
	return image, nil
}

func (im *Importer) noSuchImage(image reference.Image) *Error {
	return &Error{Kind: KindNoSuchImage, Stage: StageInventory, Err: fmt.Errorf("no image %s is stored in %s", image, im.repo.Path())}
}

// damagedImage says what helps an image that can't be worked on.
func damagedImage(image reference.Image, e *Error) *Error {
	if e.Kind != KindCanceled {
		e.Kind, e.Hint = KindCorrupted, "`ostree-importctl verify --repair "+image.String()+"` mends it"
	}
	return e
}

// layerRefs lists the refs of an image's layers, each once, all of which must be whole.
func (im *Importer) layerRefs(image stored.Image) ([]string, error) {
	var refs []string
	for i, l := range image.Manifest.Layers {
		held, err := stored.ReadLayer(im.repo, l.Digest)
		if err != nil {
			e := classify(StageInventory, err)
			e.Kind, e.LayerIndex, e.LayerCount, e.Layer = KindCorrupted, i+1, len(image.Manifest.Layers), l.Digest
			e.Hint = "`ostree-importctl verify --repair` brings back what is missing"
			return nil, e
		}
		if !slices.Contains(refs, held.Ref) {
			refs = append(refs, held.Ref)
		}
	}
	return refs, nil
}

// layerRecords lists the refs of what is recorded of layers.
func (im *Importer) layerRecords(layers []string) []string {
	var records []string
	for _, ref := range layers {
		if commit, err := im.repo.Resolve(ref); err == nil && stored.HasLayerRecord(im.repo, ref, commit) {
			records = append(records, reference.RecordRef(ref))
		}
	}
	return records
}

// checkDestination refuses a repository that is no place for root to write to. ostree gets its
// path, so that whoever can replace a directory of it could have root's ostree write elsewhere.
func checkDestination(dir *dirfd.Dir) error {
	if err := dir.RefuseRepositoryAbove(); err != nil {
		return &Error{Kind: KindInvalidOption, Stage: StageCopy, Err: err}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := dir.RefuseShared("config", "objects", "refs", "tmp", "state"); err != nil {
		return &Error{
			Kind: KindInvalidOption, Stage: StageCopy, Err: err,
			Hint: "have that user copy it with `ostree-importctl --local`, or name a repository that only root can write to",
		}
	}
	return nil
}

// openDestination opens the repository to copy to; the one that is copied from when the path is its
// own.
func (im *Importer) openDestination(ctx context.Context, path string) (*ostreerepo.Repo, error) {
	if path == "" {
		return nil, &Error{Kind: KindInvalidOption, Stage: StageCopy, Err: errors.New("no repository is named to copy to")}
	}
	dir, err := dirfd.Open(path)
	switch {
	case errors.Is(err, dirfd.ErrForeignLink):
		return nil, &Error{Kind: KindInvalidOption, Stage: StageCopy, Err: err}
	case err == nil: // else opening the repository says it better
		defer dir.Close()
		own, err := im.isOwn(dir)
		if err != nil {
			return nil, classify(StageCopy, err)
		}
		if own {
			return im.repo, nil
		}
		if err := checkDestination(dir); err != nil {
			return nil, err
		}
		path = dir.RealPath() // as it was checked, and so that two copies order their locks alike
	}
	destination, err := ostreerepo.Open(ctx, path, ostreerepo.Options{Log: im.log})
	if err != nil {
		e := classify(StageCopy, err)
		if e.Kind == KindNotAvailable {
			e.Hint = "`ostree-importctl --local --repo=" + path + " init` makes one"
		}
		return nil, stopped(ctx, StageCopy, e)
	}
	return destination, nil
}

// isOwn reports whether a directory is the repository that is copied from.
func (im *Importer) isOwn(dir *dirfd.Dir) (bool, error) {
	here, err := os.Stat(im.repo.Path())
	if err != nil {
		return false, err
	}
	there, err := dir.File().Stat()
	return err == nil && os.SameFile(here, there), err
}
