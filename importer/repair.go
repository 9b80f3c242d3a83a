package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/check"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// repair mends the images that can be mended, one after the other, and brings res up to date. That
// an image can't be mended is no error.
func (v *verification) repair(ctx context.Context, req VerifyRequest, res *VerifyResult, progress func(Progress)) error {
	failures := map[string]error{}
	each := (1 - 2*checkedPart) / float64(len(v.images))
	for i, image := range v.images {
		if image.State != StateDamaged || image.unknown {
			continue
		}
		if err := v.im.repairImage(ctx, image.ref, req, res, part(progress, checkedPart+each*float64(i), checkedPart+each*float64(i+1))); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			failures[image.ref.Name] = err
		}
	}
	after, err := v.im.look(ctx, v.names(), part(progress, 1-checkedPart, 1))
	if err != nil {
		return err
	}
	for i, before := range v.images {
		res.Images[i] = outcome(before, after.images[i], failures[before.ref.Name])
	}
	return nil
}

// outcome tells what a repair has made of an image.
func outcome(before, after *verified, failure error) VerifiedImage {
	if before.State != StateDamaged {
		return after.VerifiedImage
	}
	found := before.VerifiedImage
	if after.State == StateGood || after.State == StateUnverified {
		found.State, found.Commit, found.Unverified = StateRepaired, after.VerifiedImage.Commit, after.Unverified
		if after.ref.Commit != before.ref.Commit {
			found.Damage = append(found.Damage, Damage{Problem: fmt.Sprintf("%s was replaced meanwhile", before.ref.Commit)})
		}
		return found
	}
	found = after.VerifiedImage
	switch {
	case before.unknown:
		found.Damage = append(found.Damage, Damage{Problem: "nobody knows any more which manifest it had: import it again by its name, or remove it"})
	case failure != nil:
		found.Damage = append(found.Damage, Damage{Problem: fmt.Sprintf("it can't be repaired: %v", failure)})
	}
	return found
}

// names gives the refs that are verified.
func (v *verification) names() []string {
	names := make([]string, len(v.images))
	for i, image := range v.images {
		names[i] = image.ref.Name
	}
	return names
}

// errReplaced says that an image's ref names another commit than before.
var errReplaced = errors.New("the image was replaced meanwhile")

// repairImage restores what is damaged of an image, after that was put out of the way, which is
// done only when the image's source can be had. Only damaged layers are fetched.
func (im *Importer) repairImage(ctx context.Context, ref ostreerepo.Ref, req VerifyRequest, res *VerifyResult, progress func(Progress)) error {
	v, err := im.lookAgain(ctx, ref)
	if err != nil || v.images[0].State != StateDamaged { // what it shared with another one was mended with that
		return err
	}
	image := v.images[0]
	p, err := im.resumeStored(image, req)
	if err != nil {
		return err
	}
	defer p.discard()
	if len(image.bad) > 0 {
		if err := p.reopen(ctx); err != nil {
			return err
		}
	}
	crashpoint.Pass("repair opened")
	if err := v.makeRoom(ctx, progress); err != nil {
		return err
	}
	crashpoint.Pass("repair made room")
	return p.restore(ctx, image, res, progress)
}

// lookAgain verifies one image, which must still be the one that the ref has named.
func (im *Importer) lookAgain(ctx context.Context, ref ostreerepo.Ref) (*verification, error) {
	v, err := im.look(ctx, []string{ref.Name}, nil)
	if err != nil {
		return nil, err
	}
	if v.images[0].ref.Commit != ref.Commit {
		return nil, errReplaced
	}
	return v, nil
}

// resumeStored prepares the import of an image as it was, by its digest, without its ref.
func (im *Importer) resumeStored(image *verified, req VerifyRequest) (*Prepared, error) {
	name, err := reference.ImageOfRef(image.ref.Name)
	if err != nil {
		return nil, err
	}
	// Other programs record such names, and they lead elsewhere than when they were recorded.
	if _, err := name.Clean(); err != nil {
		return nil, fmt.Errorf("the origin of %s is not opened: %w; import it again by its absolute path", name, err)
	}
	p := im.Resume(Plan{
		Request:   Request{Image: name.String(), Jobs: req.Jobs, Access: req.Access, NoRef: true, DropSpecialFiles: true, ReuseForeign: true},
		Reference: name.String(),
		Manifest:  image.image.RawManifest, Config: image.image.RawConfig, ManifestDigest: image.image.Digest,
		ConfigReplaced: image.image.ConfigReplaced,
	})
	n, err := resolve(p.plan.Request)
	if err != nil {
		return nil, err
	}
	p.voucher.who = n.source.Signature
	return p, nil
}

// makeRoom puts what is damaged of an image out of the way: objects are deleted, commits that lack
// any are marked as incomplete, and refs of layers whose files hold no checksum are dropped. No
// import runs meanwhile.
func (v *verification) makeRoom(ctx context.Context, progress func(Progress)) error {
	lock, err := v.im.lock(ctx, StageRepair, true, progress)
	if err != nil {
		return err
	}
	defer lock.Close()
	image := v.images[0]
	if now, err := v.im.repo.Resolve(image.ref.Name); err != nil || now != image.ref.Commit {
		return errors.Join(errReplaced, err)
	}
	commits := []objects.Checksum{image.ref.Commit}
	var drop []string
	for _, l := range image.layers {
		switch commit, err := v.im.repo.Resolve(l.Ref); {
		case err == nil:
			commits = append(commits, commit)
		case errors.Is(err, ostreerepo.ErrCorrupted):
			drop = append(drop, l.Ref)
		}
	}
	var lacking []objects.Checksum
	for _, commit := range commits {
		damage, err := v.checker.Damage(ctx, commit)
		if err != nil {
			return err
		}
		if len(damage) > 0 {
			lacking = append(lacking, commit)
		}
	}
	if err := v.im.repo.DeleteRefs(ctx, drop...); err != nil {
		return err
	}
	crashpoint.Pass("repair dropped refs")
	// Before anything is deleted, so that ostree never takes a commit for whole that is not.
	for _, commit := range lacking {
		if v.im.repo.Has(objects.KindCommit, commit) {
			if err := v.im.repo.MarkPartial(commit); err != nil {
				return err
			}
		}
	}
	crashpoint.Pass("repair marked")
	for o, problem := range v.checker.AllBad() {
		if problem == check.Incomplete {
			continue
		}
		if err := v.im.repo.Discard(o.Kind, o.Checksum); err != nil {
			return err
		}
		crashpoint.Pass("repair discarded")
	}
	return nil
}
