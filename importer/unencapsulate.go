package importer

import (
	"context"
	"fmt"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// Unencapsulate brings the OSTree commit inside an image into the repository, as Import does with
// an image that holds nothing else, but records no image. With a ref it collects what nothing needs
// any more, as Import does: the commit's layers too. The error has KindNotEncapsulated for an image
// without a commit, or with layers above it, which are no part of that. progress is as in Import.
func (im *Importer) Unencapsulate(ctx context.Context, req UnencapsulateRequest, progress func(Progress)) (*UnencapsulateResult, error) {
	if err := im.checkWriteRef(req.Ref); err != nil {
		return nil, err
	}
	p, err := im.Prepare(ctx, Request{
		Image: req.Image, NoRef: true, Digest: req.Digest, Jobs: req.Jobs, SkipGC: req.SkipGC, Access: req.Access, ImageFD: req.ImageFD,
	})
	if err != nil {
		return nil, err
	}
	defer p.discard()
	if err := p.plan.checkEncapsulated(); err != nil {
		return nil, err
	}
	p.writeRef = req.Ref
	res, err := p.Import(ctx, progress)
	if err != nil {
		return nil, err
	}
	out := &UnencapsulateResult{
		Reference: res.Reference, ManifestDigest: res.ManifestDigest, Commit: p.plan.BaseCommit, Ref: req.Ref, Version: p.plan.Version,
		VerifyText: res.VerifyText, LayersFetched: len(p.plan.missing(isBase)), BytesFetched: res.BytesFetched,
	}
	return out, nil
}

// checkWriteRef refuses a ref that can't be, or that means something else.
func (im *Importer) checkWriteRef(ref string) error {
	if ref == "" {
		return nil
	}
	invalid := func(err error) error { return &Error{Kind: KindInvalidOption, Stage: StageReference, Err: err} }
	if err := ostreerepo.CheckRef(ref); err != nil {
		return invalid(err)
	}
	for _, taken := range []string{"ostree/container", "ostree/0", "ostree/1"} {
		if ref == taken || strings.HasPrefix(ref, taken+"/") {
			return invalid(fmt.Errorf("the ref %s is among those that are for images, layers and deployments (%s/…); choose another name", ref, taken))
		}
	}
	refs, err := im.repo.Refs("")
	if err != nil {
		return classify(StagePlan, err)
	}
	for _, r := range refs {
		if strings.HasPrefix(ref, r.Name+"/") || strings.HasPrefix(r.Name, ref+"/") {
			return invalid(fmt.Errorf("the ref %s can't exist beside %s: one would be a file and a directory; choose another name", ref, r.Name))
		}
	}
	return nil
}

// checkEncapsulated refuses an image that is anything but an OSTree commit.
func (plan *Plan) checkEncapsulated() error {
	if !plan.encapsulated() {
		return &Error{
			Kind: KindNotEncapsulated, Stage: StageConfig,
			Err:  fmt.Errorf("the image holds no OSTree commit: it has no label %s", document.LabelFinalDiffID),
			Hint: "import it as an image",
		}
	}
	if n := plan.derived(); n > 0 {
		return &Error{
			Kind: KindNotEncapsulated, Stage: StageConfig,
			Err:  fmt.Errorf("the image has %d layers above its OSTree commit, which are no part of that", n),
			Hint: "import it as an image",
		}
	}
	return nil
}
