package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// voucher keeps who is to vouch for an image, and what for an OSTree remote has vouched already.
type voucher struct {
	who    reference.Signature
	commit objects.Checksum // the base commit whose signatures were accepted; zero for none
	text   string           // what the check said
}

// checkSignature returns an error unless what is to vouch for the image is there.
func (p *Prepared) checkSignature(ctx context.Context) error {
	if err := signature.Check(ctx, p.im.repo, p.voucher.who, p.im.policy); err != nil {
		return classify(StageSignature, err)
	}
	return nil
}

// checkVouchable refuses an image that holds nothing an OSTree remote could have signed.
func (p *Prepared) checkVouchable() error {
	if p.voucher.who.Kind != reference.Remote || p.plan.encapsulated() {
		return nil
	}
	return &Error{
		Kind: KindSignatureRejected, Stage: StageSignature,
		Err: fmt.Errorf("the image holds no OSTree commit, so the remote %q can't vouch for it", p.voucher.who.Remote),
		Hint: fmt.Sprintf("have the containers policy check its signature (%s), or none at all (%s)",
			reference.PolicyStrict, reference.PolicyInsecureAllowed),
	}
}

// vouched reports whether the commit that the repository holds of the image may be used as far as
// signatures go.
func (p *Prepared) vouched() bool {
	return p.voucher.who.Kind != reference.Remote || p.plan.BaseCommit != "" && p.plan.BaseCommit == p.voucher.commit.String()
}

// vouchedFor reports whether a stored image may be used as far as signatures go: it must be built
// on the commit that was vouched for.
func (p *Prepared) vouchedFor(s stored.Image) bool {
	return p.voucher.who.Kind != reference.Remote || p.vouched() && s.Object.Parent == p.voucher.commit
}

// vouch has the signatures of a commit checked, if a remote is to vouch for the image.
func (p *Prepared) vouch(ctx context.Context, commit, detached []byte) error {
	text, err := signature.Verify(ctx, p.im.repo, p.voucher.who, commit, detached)
	if err != nil {
		return stopped(ctx, StageSignature, classify(StageSignature, err))
	}
	p.voucher.commit, p.voucher.text = objects.ChecksumOf(commit), text
	return nil
}

// vouchStored is vouch for a commit in the repository.
func (p *Prepared) vouchStored(ctx context.Context, commit objects.Checksum) error {
	if p.voucher.who.Kind != reference.Remote || p.voucher.commit == commit {
		return nil
	}
	b, err := p.im.repo.Metadata(objects.KindCommit, commit)
	if err != nil {
		return err
	}
	var signatures []byte
	switch detached, err := p.im.repo.Detached(commit); {
	case err == nil:
		signatures = detached.Marshal()
	case !errors.Is(err, ostreerepo.ErrNoObject) && !errors.Is(err, ostreerepo.ErrCorrupted):
		return err
	}
	return p.vouch(ctx, b, signatures)
}

// recordOf returns the record that is to land with the image's commit.
func (p *Prepared) recordOf(commit objects.Checksum) stored.Record {
	image := stored.Image{Commit: commit, Digest: p.plan.ManifestDigest}
	if before, err := p.im.repo.Resolve(p.plan.ImageRef); err == nil && p.plan.PreviousDigest == p.plan.ManifestDigest {
		image.Commit = before
	}
	// What cannot be read says nothing, and is replaced.
	r, _ := stored.ReadRecord(p.im.repo, p.plan.ImageRef, image)
	if p.plan.PreviousDigest != p.plan.ManifestDigest {
		r.Update = stored.Documents{} // the commit was the image's before, and what was newer then is not any more
	}
	r.Commit = commit
	p.setSignatureText(&r)
	return r
}

// setSignatureText keeps what the check of signatures has said, if there was one.
func (p *Prepared) setSignatureText(r *stored.Record) {
	if p.voucher.text != "" {
		r.SignatureText = p.voucher.text
	}
}

// noteSignature keeps what the check of signatures has said of an image that is stored already. It
// is for people's information only. The caller holds the lock that keeps a collection away.
func (p *Prepared) noteSignature(ctx context.Context) {
	commit, err := objects.ParseChecksum(p.plan.Commit)
	if err == nil {
		image := stored.Image{Commit: commit, Digest: p.plan.ManifestDigest}
		err = p.im.recorder().change(ctx, p.plan.ImageRef, image, p.setSignatureText)
	}
	if err != nil {
		p.im.log.WithField("image", p.plan.Reference).WithError(err).Warn("keeping what the check of signatures said")
	}
}
