package stored

import (
	"errors"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// metaRecordLayer (s) in the metadata of a record's commit is the ref of the layer that it is
// about.
const metaRecordLayer = "ostree-importd.record.layer-ref"

// LayerRecord says that this program has fetched and verified the first layer of an encapsulated
// commit, and found that commit in it. Neither the commit nor the ref that names it can tell,
// because other programs write the same two before they verify.
type LayerRecord struct {
	LayerRef string
	Commit   objects.Checksum // what was in the layer
}

// WriteLayerRecord writes a record's commit, which reference.RecordRef(r.LayerRef) is to name.
// Equal records are one commit.
func WriteLayerRecord(to ostreerepo.Objects, r LayerRecord) (objects.Checksum, error) {
	return writeRecordCommit(to, objects.Dict{
		metaRecordLayer: objects.String(r.LayerRef), metaRecordCommit: objects.String(r.Commit.String()),
	})
}

// ReadLayerRecordCommit reads the commit of a LayerRecord.
func ReadLayerRecordCommit(repo *ostreerepo.Repo, commit objects.Checksum) (LayerRecord, error) {
	c, err := repo.Commit(commit)
	if err != nil {
		return LayerRecord{}, err
	}
	ref, err := metadataString(c.Metadata, metaRecordLayer)
	if err != nil {
		return LayerRecord{}, err
	}
	about, err := recordedCommit(c.Metadata)
	return LayerRecord{LayerRef: ref, Commit: about}, err
}

// HasLayerRecord reports whether it is recorded that the layer of this ref holds the commit. A
// record that cannot be read says nothing.
func HasLayerRecord(repo *ostreerepo.Repo, layerRef string, commit objects.Checksum) bool {
	c, err := repo.Resolve(reference.RecordRef(layerRef))
	if err != nil {
		return false
	}
	r, err := ReadLayerRecordCommit(repo, c)
	return err == nil && r == LayerRecord{LayerRef: layerRef, Commit: commit}
}

// recordedCommit reads which commit a record is about.
func recordedCommit(metadata objects.Dict) (objects.Checksum, error) {
	text, err := metadataString(metadata, metaRecordCommit)
	if err != nil {
		return objects.Checksum{}, err
	}
	about, err := objects.ParseChecksum(text)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("the commit's metadata %s: %w", metaRecordCommit, err)
	}
	return about, nil
}

// writeRecordCommit writes a commit without files that has this metadata.
func writeRecordCommit(to ostreerepo.Objects, metadata objects.Dict) (objects.Checksum, error) {
	tree, treeErr := to.WriteDirTree(objects.DirTree{})
	meta, metaErr := to.WriteDirMeta(objects.DirMeta{Mode: 0o040755})
	if err := errors.Join(treeErr, metaErr); err != nil {
		return objects.Checksum{}, err
	}
	return to.WriteCommit(objects.Commit{Metadata: metadata, Tree: tree, Meta: meta})
}
