package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-importd/ostree-importd/importer/check"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// maxDamage is how many damages of one image are listed.
const maxDamage = 1000

// checkedPart is how much of a verification that repairs is done after its first check, and left
// before its second one.
const checkedPart = 0.3

// Verify reads every object of the images, and makes their merges once more and compares them with
// what is stored. With Repair it fetches damaged layers again, lands them, and verifies again.
// Damage is a result, no error, and so is what could not be checked. The check itself writes
// nothing. progress may be nil.
func (im *Importer) Verify(ctx context.Context, req VerifyRequest, progress func(Progress)) (*VerifyResult, error) {
	im.Sweep(ctx)
	progress = steady(progress)
	checking := progress
	if req.Repair {
		checking = part(progress, 0, checkedPart)
	}
	v, err := im.look(ctx, req.Images, checking)
	if err != nil {
		return nil, stopped(ctx, StageCheck, classify(StageCheck, err))
	}
	res := v.result()
	if req.Repair && v.damaged() {
		if err := v.repair(ctx, req, res, progress); err != nil {
			return nil, stopped(ctx, StageRepair, classify(StageRepair, err))
		}
	}
	return res, nil
}

// look verifies the named images, or all, while nothing is collected.
func (im *Importer) look(ctx context.Context, names []string, progress func(Progress)) (*verification, error) {
	lock, err := im.lock(ctx, StageCheck, false, progress)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	refs, err := im.imagesToVerify(names)
	if err != nil {
		return nil, err
	}
	return im.check(ctx, refs, progress)
}

// imagesToVerify gives the refs of the named images, or of all. Those that are not stored are an
// error.
func (im *Importer) imagesToVerify(names []string) ([]ostreerepo.Ref, error) {
	all, err := im.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	if len(names) == 0 {
		return all, nil
	}
	byName := map[string]ostreerepo.Ref{}
	for _, ref := range all {
		byName[ref.Name] = ref
	}
	refs := make([]ostreerepo.Ref, len(names))
	for i, name := range names {
		refName, err := im.storedRef(name)
		if err != nil {
			return nil, err
		}
		ref, ok := byName[refName]
		if !ok {
			return nil, &Error{Kind: KindNoSuchImage, Stage: StageInventory, Err: fmt.Errorf("no image %s is stored in %s", name, im.repo.Path())}
		}
		refs[i] = ref
	}
	return refs, nil
}

// verification is what is known of the images that are verified.
type verification struct {
	im      *Importer
	checker *check.Checker
	images  []*verified
}

// verified is one image.
type verified struct {
	VerifiedImage
	ref    ostreerepo.Ref
	image  stored.Image
	layers []stored.Layer // as far as they could be read
	merge  bool           // the merge commit is damaged, or not what the layers give
	bad    map[int]bool   // layers that are damaged, by index
	// unknown is set when the manifest can't be read, so that nobody knows what belongs to the
	// image.
	unknown bool
}

// check looks at all objects of the images.
func (im *Importer) check(ctx context.Context, refs []ostreerepo.Ref, progress func(Progress)) (*verification, error) {
	v := &verification{im: im, checker: check.New(im.repo)}
	for _, ref := range refs {
		image, err := v.open(ctx, ref)
		if err != nil {
			return nil, err
		}
		v.images = append(v.images, image)
	}
	err := v.checker.Run(ctx, func(done, total int) {
		if progress != nil {
			progress(steps(StageCheck, uint64(done), uint64(total)))
		}
	})
	if err != nil {
		return nil, err
	}
	for _, image := range v.images {
		if err := v.judge(ctx, image); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// open reads what an image consists of, and has it looked at.
func (v *verification) open(ctx context.Context, ref ostreerepo.Ref) (*verified, error) {
	image := &verified{ref: ref}
	image.Reference, image.Damage = ref.Name, []Damage{}
	if name, err := reference.ImageOfRef(ref.Name); err == nil {
		image.Reference = name.String()
	}
	if ref.Err != nil {
		image.unknown = true
		image.fail(0, Damage{Problem: stored.RefError(ref.Name, ref.Err).Error()}, ref.Err)
		return image, nil
	}
	image.VerifiedImage.Commit = ref.Commit.String()
	var err error
	image.image, err = stored.ReadImage(v.im.repo, ref.Commit)
	if err != nil && len(image.image.Manifest.Layers) == 0 {
		image.unknown = true
		image.fail(0, Damage{Object: check.Object{Checksum: ref.Commit, Kind: objects.KindCommit}.String(), Problem: err.Error()}, err)
		return image, nil
	}
	if err := v.checker.Add(ctx, ref.Commit); err != nil {
		return nil, err
	}
	image.layers = make([]stored.Layer, len(image.image.Manifest.Layers))
	kinds := image.image.Kinds()
	for i, l := range image.image.Manifest.Layers {
		held, err := stored.ReadLayer(v.im.repo, l.Digest)
		if err == nil {
			err = held.CheckKind(kinds[i])
		}
		if err != nil {
			image.fail(i+1, Damage{Problem: err.Error()}, err)
		}
		image.layers[i] = held
		if commit, err := v.im.repo.Resolve(held.Ref); err == nil {
			if err := v.checker.Add(ctx, commit); err != nil {
				return nil, err
			}
		}
	}
	return image, nil
}

// judge says what is wrong with an image whose objects were looked at.
func (v *verification) judge(ctx context.Context, image *verified) error {
	if !image.unknown {
		if err := v.judgeObjects(ctx, image); err != nil {
			return err
		}
		image.Unverified = v.im.unverified(&image.image, makingOf(&image.image), image.layers)
	}
	switch {
	case len(image.Damage) > 0 || image.merge:
		image.State = StateDamaged
	case image.NotChecked != "":
		image.State = StateUnchecked
	case len(image.Unverified) > 0:
		image.State = StateUnverified
	default:
		image.State = StateGood
	}
	return nil
}

func (v *verification) judgeObjects(ctx context.Context, image *verified) error {
	explained, err := v.judgeLayers(ctx, image)
	if err != nil {
		return err
	}
	damage, err := v.checker.Damage(ctx, image.ref.Commit)
	if err != nil {
		return err
	}
	for _, d := range damage {
		if d.NotChecked {
			image.skip(d)
			continue
		}
		image.merge = true
		if !explained[d.Object] {
			image.note(Damage{Path: d.Path, Object: d.Object.String(), Problem: d.Problem})
		}
	}
	if len(image.Damage) > 0 || image.NotChecked != "" {
		return nil
	}
	return v.compareMerge(ctx, image)
}

// judgeLayers lists what is wrong with the layers, and gives the objects concerned. The contents of
// an encapsulated commit are in the chunks, but only the commit, in the first layer, knows their
// paths.
func (v *verification) judgeLayers(ctx context.Context, image *verified) (explained map[check.Object]bool, err error) {
	kinds := image.image.Kinds()
	explained, inChunk := map[check.Object]bool{}, map[check.Object]int{}
	damage := make([][]check.Damage, len(image.layers))
	for i, l := range image.layers {
		if l.Commit.IsZero() {
			continue // noted already
		}
		if damage[i], err = v.checker.Damage(ctx, l.Commit); err != nil {
			return nil, err
		}
		if kinds[i] == document.KindChunk {
			for _, d := range damage[i] {
				inChunk[d.Object] = i
			}
		}
	}
	for i, list := range damage {
		for _, d := range list {
			if d.NotChecked {
				image.skip(d)
				continue
			}
			layer, path := i, d.Path
			if chunk, ok := inChunk[d.Object]; ok && kinds[i] == document.KindCommit {
				layer = chunk
			} else if kinds[i] == document.KindChunk {
				if explained[d.Object] {
					continue
				}
				path = ""
			}
			explained[d.Object] = true
			image.noteLayer(layer, Damage{Path: path, Object: d.Object.String(), Problem: d.Problem})
		}
	}
	return explained, nil
}

// skip says that an object could not be read.
func (image *verified) skip(d check.Damage) {
	image.notChecked(fmt.Sprintf("%s: %s", d.Object, d.Problem))
}

// notChecked says why the image could not be checked whole. The first reason stays.
func (image *verified) notChecked(reason string) {
	if image.NotChecked == "" {
		image.NotChecked = reason
	}
}

// fail notes a damage that an error has shown, unless the error is about the machine. layer counts
// from 1; 0 is none.
func (image *verified) fail(layer int, d Damage, err error) {
	switch {
	case check.NotChecked(err):
		image.notChecked(d.Problem)
	case layer > 0:
		image.noteLayer(layer-1, d)
	default:
		image.note(d)
	}
}

// note lists a damage that is not a layer's.
func (image *verified) note(d Damage) {
	if len(image.Damage) == maxDamage {
		image.Truncated++
		return
	}
	image.Damage = append(image.Damage, d)
}

// noteLayer lists a damage of the layer with that index.
func (image *verified) noteLayer(index int, d Damage) {
	if image.bad == nil {
		image.bad = map[int]bool{}
	}
	image.bad[index] = true
	d.Layer, d.LayerIndex = image.image.Manifest.Layers[index].Digest, index+1
	image.note(d)
}

// compareMerge makes the merge of an image once more. Other importers merge by other rules, so that
// of theirs nothing can be said.
func (v *verification) compareMerge(ctx context.Context, image *verified) error {
	if !makingOf(&image.image).here || image.refetched() {
		return nil
	}
	commit, err := v.im.remerge(ctx, image.image)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case errors.Is(err, errOtherRules):
		return nil
	case check.NotChecked(err):
		image.notChecked(fmt.Sprintf("the layers could not be merged once more: %v", err))
	case err != nil:
		image.merge = true
		image.note(Damage{Problem: fmt.Sprintf("the layers can't be merged: %v", err)})
	case commit != image.ref.Commit:
		image.merge = true
		image.note(Damage{
			Object:  check.Object{Checksum: image.ref.Commit, Kind: objects.KindCommit}.String(),
			Problem: fmt.Sprintf("merging the layers gives another commit, %s", commit),
		})
	}
	return nil
}

// refetched tells whether layers that the image was made of unverified were fetched since, so that
// merging them says nothing.
func (image *verified) refetched() bool {
	for i, l := range image.layers {
		if slices.Contains(image.image.Unverified, image.image.Manifest.Layers[i].Digest) && !l.IsForeign() {
			return true
		}
	}
	return false
}

// errOtherRules says that a merge can't be repeated because this program would import the layers
// otherwise today.
var errOtherRules = errors.New("the layers were imported by other rules than today's")

// remerge gives the commit that an image's layers give, without keeping it.
func (im *Importer) remerge(ctx context.Context, image stored.Image) (objects.Checksum, error) {
	p := im.Resume(Plan{
		Request:  Request{NoRef: true, DropSpecialFiles: true, ReuseForeign: len(image.Unverified) > 0},
		Manifest: image.RawManifest, Config: image.RawConfig, ManifestDigest: image.Digest,
		ConfigReplaced: image.ConfigReplaced,
	})
	if err := p.assess(ctx); err != nil {
		return objects.Checksum{}, err
	}
	if p.plan.LayersToFetch > 0 {
		return objects.Checksum{}, errOtherRules
	}
	commit, _, err := p.mergeCommit(ctx, im.repo.NewTrial())
	return commit, err
}

func (v *verification) damaged() bool {
	for _, image := range v.images {
		if image.State == StateDamaged {
			return true
		}
	}
	return false
}

// result tells what was found.
func (v *verification) result() *VerifyResult {
	res := &VerifyResult{Images: make([]VerifiedImage, len(v.images)), Objects: v.checker.Objects(), Bytes: v.checker.Bytes()}
	for i, image := range v.images {
		res.Images[i] = image.VerifiedImage
	}
	return res
}
