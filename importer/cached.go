package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// complete tells whether all the image's layers are there.
func (im *Importer) complete(s stored.Image) bool {
	kinds := s.Kinds()
	for i, l := range s.Manifest.Layers {
		if held, err := stored.ReadLayer(im.repo, l.Digest); err != nil || held.CheckKind(kinds[i]) != nil {
			return false
		}
	}
	return true
}

// held reads what the ref of a layer names. A layer that is missing is no error; the error is about
// a damaged one.
func (im *Importer) held(d digest.Digest) (stored.Layer, error) {
	held, err := stored.ReadLayer(im.repo, d)
	if errors.Is(err, ostreerepo.ErrNoRef) || errors.Is(err, ostreerepo.ErrNoObject) {
		return held, nil
	}
	return held, err
}

// assessLayer fills in what the layer's ref names, and has fits tell whether an import can use
// that.
func (p *Prepared) assessLayer(i int, fits func(stored.Layer) bool) error {
	l := &p.plan.Layers[i]
	held, err := p.im.held(l.Digest)
	if err != nil {
		return p.plan.layerError(classify(StagePlan, err), i+1)
	}
	l.Ref, l.Commit, l.Cached, l.ReusedFrom = held.Ref, "", false, ""
	if !held.Commit.IsZero() {
		l.Commit = held.Commit.String()
		l.Cached = held.Kind == l.Kind && fits(held)
	}
	return nil
}

// assessBase looks for the layers of the encapsulated commit, and reads what the commit says about
// the layers above it.
func (p *Prepared) assessBase(ctx context.Context) error {
	plan := &p.plan
	plan.BaseCommit = ""
	if !plan.encapsulated() {
		p.ground = p.im.plainGround()
		return nil
	}
	p.ground = p.im.unknownGround()
	for i, l := range plan.Layers {
		if l.Kind == document.KindDerived {
			break
		}
		if err := p.assessLayer(i, func(stored.Layer) bool { return true }); err != nil {
			return err
		}
	}
	first := &plan.Layers[0]
	if !first.Cached {
		return nil
	}
	commit, err := objects.ParseChecksum(first.Commit)
	if err == nil {
		err = p.checkNamed(commit)
	}
	if err == nil && p.plan.Request.RequireVerified && !p.provenBase(commit) {
		err = errUnproven
	}
	if err == nil {
		err = p.vouchStored(ctx, commit)
	}
	if err == nil {
		err = p.takeGround(ctx, commit)
	}
	if errors.Is(err, ostreerepo.ErrNoObject) || errors.Is(err, ostreerepo.ErrSignature) || errors.Is(err, errUnproven) {
		// The layer may bring what is missing, or other signatures.
		p.im.log.WithField("image", plan.Reference).WithError(err).Info("the stored base commit is to be fetched again")
		first.Cached = false
		return nil
	}
	return err
}

// errUnproven says that nothing tells whether a stored commit is the one in the image's first
// layer.
var errUnproven = errors.New("this program has not verified the layer that the commit is stored for")

// checkNamed refuses a stored base commit that the image's config denies by its name: other
// importers give a layer its ref before the blob's digest is verified.
func (p *Prepared) checkNamed(commit objects.Checksum) error {
	if err := p.plan.checkLabel(commit); err != nil {
		return fmt.Errorf("%w: the first layer is stored as another commit: %w", ostreerepo.ErrNoObject, err)
	}
	return nil
}

// checkLabel refuses a commit in an image that is not the one that the image's label names. An
// image without that label may hold any.
func (plan *Plan) checkLabel(commit objects.Checksum) error {
	named := plan.namedCommit()
	if named == "" || named == commit.String() {
		return nil
	}
	return &Error{
		Kind: KindUnsupportedImage, Stage: StageVerify,
		Err:  fmt.Errorf("the image's label %s names the commit %.100q, but the commit in the image is %s", document.LabelCommit, named, commit),
		Hint: "correct or remove the label",
	}
}

// namedCommit returns the commit that the image's label names; "" for none, also where a build has
// cleared it.
func (plan *Plan) namedCommit() string {
	_, c, err := plan.documents()
	if err != nil { // a plan without documents is refused when it is assessed
		return ""
	}
	return c.Config.Labels[document.LabelCommit]
}

// takeGround makes a commit that is here the one that the derived layers are put on.
func (p *Prepared) takeGround(ctx context.Context, commit objects.Checksum) error {
	g, err := p.im.groundOf(ctx, commit, p.plan.derived())
	if err != nil {
		e := p.plan.layerError(classify(StagePlan, err), 1)
		if e.Kind == KindFailed { // nothing is wrong with the repository, but the commit says something that makes no sense
			e.Kind = KindUnsupportedImage
		}
		return stopped(ctx, StagePlan, e)
	}
	p.ground, p.plan.BaseCommit = g, commit.String()
	return nil
}

// encapsulated tells whether the image holds an OSTree commit.
func (plan *Plan) encapsulated() bool {
	return plan.Layers[0].Kind == document.KindCommit
}

// derived gives the number of layers that are not the encapsulated commit's.
func (plan *Plan) derived() int {
	n := 0
	for _, l := range plan.Layers {
		if l.Kind == document.KindDerived {
			n++
		}
	}
	return n
}

// assessDerived looks for the other layers, as the ground says that they must be.
func (p *Prepared) assessDerived() error {
	plan := &p.plan
	missing := false
	for i, l := range plan.Layers {
		if l.Kind != document.KindDerived {
			continue
		}
		fits := func(held stored.Layer) bool {
			return plan.Request.ReuseForeign && held.IsForeign() || p.ground.fits(held, l.DiffID, plan.Request.DropSpecialFiles)
		}
		if err := p.assessLayer(i, fits); err != nil {
			return err
		}
		missing = missing || !plan.Layers[i].Cached
	}
	if missing {
		if err := p.reuse(); err != nil {
			return err
		}
	}
	plan.count()
	return nil
}

// reuse finds missing layers that are here under another digest: compressed otherwise, for example.
// Commits of other importers don't say their diff ID, which nobody has verified.
func (p *Prepared) reuse() error {
	refs, err := p.im.repo.Refs(reference.BlobPrefix)
	if err != nil {
		return classify(StagePlan, err)
	}
	missing := map[digest.Digest][]int{}
	for i, l := range p.plan.Layers {
		if l.Kind == document.KindDerived && !l.Cached {
			missing[l.DiffID] = append(missing[l.DiffID], i)
		}
	}
	for _, ref := range refs {
		if ref.Err != nil {
			continue
		}
		held, err := stored.ReadLayerCommit(p.im.repo, ref.Commit)
		if err != nil || held.Kind != document.KindDerived {
			continue
		}
		text, err := reference.Unescape(reference.BlobPrefix, ref.Name)
		if err != nil || digest.Digest(text).Validate() != nil || !p.ground.fits(held, held.DiffID, p.plan.Request.DropSpecialFiles) {
			continue
		}
		for _, i := range missing[held.DiffID] {
			l := &p.plan.Layers[i]
			l.Commit, l.Cached, l.ReusedFrom = held.Commit.String(), true, digest.Digest(text)
		}
		delete(missing, held.DiffID)
	}
	return nil
}
