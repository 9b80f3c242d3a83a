package collect

import (
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// decideRecords decides on the refs of records, after the images.
func (s *surveyed) decideRecords(repo *ostreerepo.Repo) ([]Decision, error) {
	refs, err := repo.Refs(reference.RecordPrefix)
	if err != nil {
		return nil, err
	}
	images := map[string]*owner{}
	for _, i := range s.images {
		images[i.Ref] = i
	}
	decisions := make([]Decision, len(refs))
	for i, ref := range refs {
		decisions[i] = decideRecord(repo, ref, images)
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
