package collect

import (
	"cmp"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// decideRecords decides on the refs of records, after the images and the layers.
func (s *surveyed) decideRecords(repo *ostreerepo.Repo, layers []Decision) ([]Decision, error) {
	refs, err := repo.Refs(reference.RecordPrefix)
	if err != nil {
		return nil, err
	}
	images := map[string]*owner{}
	for _, i := range s.images {
		images[i.Ref] = i
	}
	kept := map[string]string{}
	for _, l := range layers {
		if !l.Delete {
			kept[l.Ref] = l.Name
		}
	}
	decisions := make([]Decision, len(refs))
	for i, ref := range refs {
		if r, err := stored.ReadLayerRecordCommit(repo, ref.Commit); ref.Err == nil && err == nil {
			decisions[i] = decideLayerRecord(repo, ref.Name, r, kept)
		} else {
			decisions[i] = decideRecord(repo, ref, images)
		}
	}
	return decisions, nil
}

func decideRecord(repo *ostreerepo.Repo, ref ostreerepo.Ref, images map[string]*owner) Decision {
	d := Decision{Ref: ref.Name, Name: ref.Name, Record: true, Delete: true, Reason: "what it records of an image can't be read"}
	if ref.Err != nil {
		return d
	}
	r, err := stored.ReadRecordCommit(repo, ref.Commit)
	if err != nil || reference.RecordRef(r.ImageRef) != ref.Name {
		return d
	}
	d.Name = r.ImageRef
	if image, err := reference.ImageOfRef(r.ImageRef); err == nil {
		d.Name = image.String()
	}
	switch image := images[r.ImageRef]; {
	case image == nil || image.Delete || image.commit != r.Commit:
		d.Reason = "the image that it is about is not stored any more"
	case r.IsEmpty():
		d.Reason = "it tells nothing about its image"
	default:
		d.Delete, d.Reason = false, "it is about "+image.text
	}
	return d
}

// decideLayerRecord decides on what is recorded of a layer; kept are the layers that stay, by their
// refs.
func decideLayerRecord(repo *ostreerepo.Repo, ref string, r stored.LayerRecord, kept map[string]string) Decision {
	name := kept[r.LayerRef]
	d := Decision{Ref: ref, Name: cmp.Or(name, r.LayerRef), Record: true, Delete: true}
	commit, err := repo.Resolve(r.LayerRef)
	if name == "" || err != nil || commit != r.Commit || reference.RecordRef(r.LayerRef) != ref {
		d.Reason = "the layer that it is about is not stored any more"
		return d
	}
	d.Delete, d.Reason = false, "it is about the layer "+name
	return d
}
