package importer

import (
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// ImageStates returns a text for each stored image, by the name that Images lists it under. The
// text differs once the image's ref names another commit, or another record of it. Only refs are
// read.
func (im *Importer) ImageStates() (map[string]string, error) {
	images, err := im.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	records, err := im.repo.Refs(reference.RecordPrefix)
	if err != nil {
		return nil, classify(StageInventory, err)
	}
	recorded := make(map[string]ostreerepo.Ref, len(records))
	for _, record := range records {
		recorded[record.Name] = record
	}
	states := make(map[string]string, len(images))
	for _, image := range images {
		record := recorded[reference.RecordRef(image.Name)]
		states[listedName(image.Name)] = fmt.Sprintf("%s %v %s %v",
			image.Commit, image.Err, record.Commit, record.Err)
	}
	return states, nil
}

// listedName is the name of the image that a ref stands for, or the ref where that names no image.
func listedName(ref string) string {
	name, err := reference.ImageOfRef(ref)
	if err != nil {
		return ref
	}
	return name.String()
}
