package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/collect"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// Prune drops what nothing needs: layer refs, images that the policy doesn't keep, and then
// unreachable objects. It waits until no import runs, in this or in another process. progress may
// be nil.
func (im *Importer) Prune(ctx context.Context, req PruneRequest, progress func(Progress)) (*PruneResult, error) {
	policy, err := prunePolicy(req)
	if err != nil {
		return nil, err
	}
	im.Sweep(ctx)
	progress = steady(progress)
	lock, err := im.lock(ctx, StageCollect, true, progress)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return im.prune(ctx, policy, req.DryRun, progress)
}

func prunePolicy(req PruneRequest) (collect.Policy, error) {
	invalid := func(format string, args ...any) (collect.Policy, error) {
		return collect.Policy{}, &Error{Kind: KindInvalidOption, Stage: StageCollect, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case req.Scope != PruneLayers && req.Scope != PruneImages:
		return invalid("the scope %q is neither %q nor %q", req.Scope, PruneLayers, PruneImages)
	case req.KeepLast < 0:
		return invalid("%d images to keep is out of range", req.KeepLast)
	case req.Scope == PruneLayers && (req.KeepLast > 0 || req.Quota > 0):
		return invalid("keep-last and quota are about images: they need the scope %q", PruneImages)
	}
	return collect.Policy{Undeployed: req.Scope == PruneImages, KeepLast: req.KeepLast, Quota: req.Quota}, nil
}

// prune does the work of Prune under the exclusive lock.
func (im *Importer) prune(ctx context.Context, policy collect.Policy, dryRun bool, progress func(Progress)) (*PruneResult, error) {
	report := func(done, total int) {
		if progress != nil {
			progress(steps(StageCollect, uint64(done), uint64(total)))
		}
	}
	report(0, 0)
	if !dryRun {
		if err := im.recorder().dropAllEarlierNotes(ctx); err != nil {
			im.log.WithError(err).Warn("removing detached metadata that earlier versions wrote")
		}
	}
	decisions, err := collect.Decide(ctx, im.repo, policy)
	if err != nil {
		return nil, stopped(ctx, StageCollect, classify(StageCollect, err))
	}
	res := &PruneResult{DryRun: dryRun, Refs: make([]PrunedRef, len(decisions))}
	var drop []string
	without := map[string]bool{}
	for i, d := range decisions {
		res.Refs[i] = PrunedRef{Ref: d.Ref, Name: d.Name, Deleted: d.Delete, Reason: d.Reason}
		if !d.Delete {
			continue
		}
		drop, without[d.Ref] = append(drop, d.Ref), true
		switch {
		case d.Image:
			res.Images++
		case !d.Record:
			res.Layers++
		}
	}
	garbage, garbageErr := im.repo.Garbage(ctx, without)
	if ctx.Err() != nil {
		return nil, stopped(ctx, StageCollect, garbageErr)
	}
	if !dryRun {
		report(0, len(drop))
		crashpoint.Pass("collect decided")
		if err := im.repo.DeleteRefs(ctx, drop...); err != nil {
			return nil, stopped(ctx, StageCollect, classify(StageCollect, err))
		}
		crashpoint.Pass("collect refs dropped")
		report(len(drop), len(drop))
	}
	if garbageErr != nil {
		return nil, pruneError(garbageErr)
	}
	usage := garbage.Usage
	if !dryRun {
		if garbage.Objects > 0 {
			if err := garbage.Prune(ctx); err != nil {
				return nil, stopped(ctx, StageCollect, pruneError(err))
			}
		}
		crashpoint.Pass("collect pruned")
		usage = garbage.Gone()
	}
	res.Objects, res.Bytes = usage.Objects, usage.Bytes
	return res, nil
}

// pruneError is about objects that can't be pruned.
func pruneError(err error) *Error {
	e := classify(StageCollect, err)
	if errors.Is(err, ostreerepo.ErrNoObject) || errors.Is(err, ostreerepo.ErrCorrupted) {
		e.Kind = KindCorrupted
		e.Hint = "refs that nothing needs were dropped, but ostree deletes no objects while a commit is damaged: " +
			"`ostree-importctl verify --repair` finds and mends an image, `ostree-importctl remove` drops it"
	}
	return e
}

// collectAfter drops what an import has made superfluous. What keeps it from that is no failure of
// the import: it is done by the next one. Somebody else who is at work on the repository does it at
// the end of that.
func (im *Importer) collectAfter(ctx context.Context) {
	lock, err := im.repo.TryLock()
	if err == nil && lock == nil {
		im.log.Debug("not collecting now: somebody else works on the repository")
		return
	}
	var res *PruneResult
	if err == nil {
		defer lock.Close()
		res, err = im.prune(ctx, collect.Policy{}, false, nil)
	}
	if err != nil {
		im.log.WithError(err).Warn("collecting what no image needs any more")
		return
	}
	im.log.WithField("layers", res.Layers).WithField("objects", res.Objects).WithField("bytes", res.Bytes).Debug("collected")
}

// lock takes the repository's lock: shared to keep a collection away until what is done has a ref
// that needs it, exclusive for deleting. progress, which may be nil, is told when it has to wait.
func (im *Importer) lock(ctx context.Context, stage Stage, exclusive bool, progress func(Progress)) (io.Closer, error) {
	lock, err := im.repo.Lock(ctx, exclusive, waiting(progress))
	if err != nil {
		return nil, stopped(ctx, stage, classify(stage, err))
	}
	return lock, nil
}

// waiting returns what tells progress, which may be nil, that a lock is waited for.
func waiting(progress func(Progress)) func() {
	return func() {
		if progress != nil {
			progress(unmeasured(StageWait))
		}
	}
}

// Remove drops images and then, unless the request says otherwise, what only they needed. One that
// a deployment uses is an error of kind ImageInUse, and none is dropped, unless the request says
// otherwise. progress may be nil.
func (im *Importer) Remove(ctx context.Context, req RemoveRequest, progress func(Progress)) (*RemoveResult, error) {
	if len(req.Images) == 0 {
		return nil, &Error{Kind: KindInvalidOption, Stage: StageReference, Err: errors.New("no image is named")}
	}
	refs := make([]string, len(req.Images))
	for i, name := range req.Images {
		ref, err := im.storedRef(name)
		if err != nil {
			return nil, err
		}
		refs[i] = ref
	}
	im.Sweep(ctx)
	progress = steady(progress)
	lock, err := im.lock(ctx, StageCollect, true, progress)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	res := &RemoveResult{Removed: []string{}, Missing: []string{}}
	var drop []string
	for i, ref := range refs {
		if slices.Contains(refs[:i], ref) {
			continue
		}
		if _, err := im.repo.Resolve(ref); errors.Is(err, ostreerepo.ErrNoRef) {
			res.Missing = append(res.Missing, req.Images[i])
			continue
		}
		drop, res.Removed = append(drop, ref, reference.RecordRef(ref)), append(res.Removed, req.Images[i])
	}
	if !req.Force {
		if err := im.checkUnused(drop); err != nil {
			return nil, err
		}
	}
	crashpoint.Pass("remove decided")
	if err := im.repo.DeleteRefs(ctx, drop...); err != nil {
		return nil, stopped(ctx, StageCollect, classify(StageCollect, err))
	}
	crashpoint.Pass("remove done")
	if len(drop) > 0 && !req.SkipGC {
		if res.Collected, err = im.prune(ctx, collect.Policy{}, false, progress); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// checkUnused returns an error if a deployment uses one of the images that are to be dropped; refs
// of anything else are passed over.
func (im *Importer) checkUnused(refs []string) error {
	deployments, err := collect.FindDeployments(im.repo)
	if err != nil {
		return classify(StageCollect, err)
	}
	for _, ref := range refs {
		commit, err := im.repo.Resolve(ref)
		if err != nil || !strings.HasPrefix(ref, reference.ImagePrefix+"/") {
			continue
		}
		use := deployments.Use(ref, commit)
		if use == "" {
			continue
		}
		name := ref
		if image, err := reference.ImageOfRef(ref); err == nil {
			name = image.String()
		}
		return &Error{
			Kind: KindImageInUse, Stage: StageCollect, Err: fmt.Errorf("%s is in use: %s", name, use),
			Hint: "deploy another image first, or drop it nevertheless with --force",
		}
	}
	return nil
}

// storedRef is the ref of a stored image that is named in any form, or, for one whose name can't be
// read, by the ref itself.
func (im *Importer) storedRef(name string) (string, error) {
	if len(name) > len(reference.ImagePrefix) && name[:len(reference.ImagePrefix)+1] == reference.ImagePrefix+"/" {
		return name, nil
	}
	parsed, err := reference.Parse(name)
	if err != nil {
		return "", &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	ref, err := reference.ImageRef(parsed.Image)
	if err != nil {
		return "", &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	return ref, nil
}
