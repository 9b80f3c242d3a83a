package importer

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/treediff"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// side is one image of a comparison.
type side struct {
	image    ComparedImage
	manifest *ocispec.Manifest
	config   *document.Config
	toFetch  uint64 // bytes
}

// Compare tells what differs from an image to another one, or from a stored one to what its name
// stands for at its origin now. What is stored of an image counts; only of one that is not stored
// the origin is asked, if the request says so. Compare changes nothing and fetches no layers. Files
// can be compared of stored images only.
func (im *Importer) Compare(ctx context.Context, req CompareRequest) (*Comparison, error) {
	from, err := im.side(ctx, req, req.Image, req.ImageNotStored && req.Other != "", req.ImageFD)
	if err != nil {
		return nil, err
	}
	var to side
	switch {
	case req.Other != "":
		to, err = im.side(ctx, req, req.Other, req.OtherNotStored, nil)
	case req.Files:
		err = filesUnknown(req.Image)
	default:
		to, err = im.originSide(ctx, req, req.Image, from.image.Reference, req.ImageFD)
	}
	if err != nil {
		return nil, err
	}
	res := compareLayers(from, to)
	if req.Files {
		if res.Files, err = im.compareFiles(ctx, from.image.Commit, to.image.Commit); err != nil {
			return nil, stopped(ctx, StageInventory, classify(StageInventory, err))
		}
	}
	return res, nil
}

// filesUnknown is about an image of which nothing but the documents is known.
func filesUnknown(name string) *Error {
	return &Error{
		Kind: KindInvalidOption, Stage: StageReference,
		Err:  fmt.Errorf("the files of what %s stands for at its origin are not known before it is imported", name),
		Hint: "import it under another name (--target) and compare with that",
	}
}

// side is the stored image of a name or, if none is stored and the origin may be asked, what the
// name stands for there.
func (im *Importer) side(ctx context.Context, req CompareRequest, name string, orOrigin bool, opened *Descriptor) (side, error) {
	s, err := im.storedSide(name)
	if KindOf(err) != KindNoSuchImage || !orOrigin {
		return s, err
	}
	if req.Files {
		return side{}, filesUnknown(name)
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return side{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	return im.originSide(ctx, req, name, ref.Image.String(), opened)
}

func (im *Importer) storedSide(name string) (side, error) {
	image, err := im.storedImage(name)
	if err != nil {
		return side{}, err
	}
	created, _ := document.Created(image.Manifest, image.Config)
	return side{
		image: ComparedImage{
			Reference: image.name.String(), ManifestDigest: image.Digest, Version: image.Config.Version(), Created: created,
			Commit: image.Commit.String(),
		},
		manifest: image.Manifest, config: image.Config,
	}, nil
}

// originSide asks the origin of an image, which is shown by this name.
func (im *Importer) originSide(ctx context.Context, req CompareRequest, image, name string, opened *Descriptor) (side, error) {
	prepared, err := im.Prepare(ctx, Request{Image: image, Access: req.Access, ImageFD: opened})
	if err != nil {
		return side{}, err
	}
	defer prepared.discard()
	plan := prepared.Plan()
	m, c, err := plan.documents()
	if err != nil {
		return side{}, err
	}
	s := side{
		image:    ComparedImage{Reference: name, ManifestDigest: plan.ManifestDigest, Version: plan.Version, Created: plan.Created},
		manifest: m, config: c, toFetch: plan.BytesToFetch,
	}
	return s, nil
}

// compareLayers sorts the distinct layers of both sides into those that were added, removed and
// kept, in the order of the manifests.
func compareLayers(from, to side) *Comparison {
	res := &Comparison{From: from.image, To: to.image, BytesToFetch: to.toFetch, Added: []ComparedLayer{}, Removed: []ComparedLayer{}, Kept: []ComparedLayer{}}
	before, after := from.layers(), to.layers()
	has := func(layers []ComparedLayer) map[digest.Digest]bool {
		set := map[digest.Digest]bool{}
		for _, l := range layers {
			set[l.Digest] = true
		}
		return set
	}
	was, is := has(before), has(after)
	for _, l := range before {
		if !is[l.Digest] {
			res.Removed, res.BytesRemoved = append(res.Removed, l), res.BytesRemoved+l.Size
		}
	}
	for _, l := range after {
		if was[l.Digest] {
			res.Kept, res.BytesKept = append(res.Kept, l), res.BytesKept+l.Size
			continue
		}
		res.Added, res.BytesAdded = append(res.Added, l), res.BytesAdded+l.Size
	}
	return res
}

// layers lists the distinct layers.
func (s side) layers() []ComparedLayer {
	var list []ComparedLayer
	notes := document.History(s.config, len(s.manifest.Layers))
	seen := map[digest.Digest]bool{}
	for i, l := range s.manifest.Layers {
		if !seen[l.Digest] {
			list = append(list, ComparedLayer{Digest: l.Digest, Size: uint64(max(0, l.Size)), CreatedBy: notes[i].CreatedBy})
		}
		seen[l.Digest] = true
	}
	return list
}

func (im *Importer) compareFiles(ctx context.Context, from, to string) ([]FileChange, error) {
	var roots [2]treediff.Root
	for i, text := range []string{from, to} {
		c, err := objects.ParseChecksum(text)
		if err != nil {
			return nil, err
		}
		commit, err := im.repo.Commit(c)
		if err != nil {
			return nil, err
		}
		roots[i] = treediff.Root{Tree: commit.Tree, Meta: commit.Meta}
	}
	changes, err := treediff.Diff(ctx, im.repo, roots[0], roots[1])
	if err != nil {
		return nil, err
	}
	files := make([]FileChange, len(changes))
	for i, c := range changes {
		files[i] = FileChange{Path: c.Path, Change: string(c.Kind), What: c.What}
	}
	return files, nil
}
