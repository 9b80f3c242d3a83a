package stored

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Record is what is known of a stored image besides its commit. It has a small commit and a ref of
// its own: detached metadata of the image's commit would keep ostree-prepare-root from looking for
// the signature of the base commit, and the host from starting. The zero value says nothing.
type Record struct {
	ImageRef      string           // the image's ref
	Commit        objects.Checksum // what that ref named. A record about another commit than it names now counts as none
	SignatureText string           // what the check of the signatures of the commit inside the image said; "" without one
	Update        Documents        // the newer image that was found at the origin; zero for none
	// Overrides is the manifest digest of a newer image that another program had recorded in
	// detached metadata when this record was made, which is therefore the later word; "" for none.
	Overrides digest.Digest
}

// Documents are an image's manifest and config as texts, and the digest of the manifest.
type Documents struct {
	Digest           digest.Digest
	Manifest, Config string
}

// Metadata keys of a record's commit; the values are strings. All but the first two are absent
// where the Record has nothing to say.
const (
	metaRecordRef       = "ostree-importd.record.image-ref"
	metaRecordCommit    = "ostree-importd.record.commit"
	metaRecordSignature = "ostree-importd.record.signature-text"
	metaRecordDigest    = "ostree-importd.record.update.manifest-digest"
	metaRecordManifest  = "ostree-importd.record.update.manifest"
	metaRecordConfig    = "ostree-importd.record.update.config"
	metaRecordOverrides = "ostree-importd.record.overrides"
)

// OfDocuments returns the documents of the image whose merge commit has this metadata.
func OfDocuments(metadata objects.Dict) Documents {
	return readDocuments(metadata, MetaManifestDigest, MetaManifest, MetaConfig)
}

func readDocuments(d objects.Dict, dgst, manifest, config string) Documents {
	text := func(key string) string {
		s, _ := d[key].AsString()
		return s
	}
	return Documents{Digest: digest.Digest(text(dgst)), Manifest: text(manifest), Config: text(config)}
}

// IsEmpty reports whether the record tells nothing about its image.
func (r Record) IsEmpty() bool {
	return r == Record{ImageRef: r.ImageRef, Commit: r.Commit}
}

// Newer returns the newer image, whose Commit is zero, nil if the record has none. An error is
// about what was recorded.
func (r Record) Newer() (*Image, error) {
	if r.Update.Digest == "" {
		return nil, nil
	}
	newer := &Image{Digest: r.Update.Digest, RawManifest: []byte(r.Update.Manifest), RawConfig: []byte(r.Update.Config)}
	if r.Update.Manifest == "" || r.Update.Config == "" {
		return nil, errors.New("the recorded update lacks its manifest or its config")
	}
	var err error
	if newer.Manifest, err = document.ParseManifest(newer.RawManifest); err == nil {
		newer.Config, err = document.ParseConfig(newer.RawConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("the recorded update: %w", err)
	}
	return newer, nil
}

// ErrDetached says that an image's detached metadata cannot be read.
var ErrDetached = errors.New("the detached metadata of the image's commit cannot be read")

// ReadRecord reads what is recorded of the image that ref names: the record, completed by what
// other programs, and earlier versions of this one, have put into the detached metadata of the
// image's commit. Overrides is what another program records there now, so that the result, changed
// and written, is the later word. ReadRecord needs no lock: of an image that is replaced meanwhile
// it finds the old or the new record, or none. What could be read is returned along with an error,
// which is ErrDetached or about the record.
func ReadRecord(repo *ostreerepo.Repo, ref string, image Image) (Record, error) {
	r, err := readOwnRecord(repo, ref, image.Commit)
	found := err == nil && r.ImageRef != ""
	if !found {
		r = Record{ImageRef: ref, Commit: image.Commit}
	}
	d, detachedErr := readDetached(repo, image.Commit)
	if detachedErr == nil {
		r.complete(d, found)
	} else {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrDetached, detachedErr))
	}
	if r.Update.Digest == image.Digest {
		r.Update = Documents{}
	}
	return r, err
}

// complete adds what the detached metadata of the image's commit tell. found says that r was
// recorded, and not just made.
func (r *Record) complete(d detachedNotes, found bool) {
	if !found {
		r.SignatureText = d.signatureText
	}
	if d.ours {
		if !found && slices.Contains(d.refs, r.ImageRef) {
			r.Update = d.update
		}
		return
	}
	if d.update.Digest != "" && (!found || r.Overrides != d.update.Digest) {
		r.Update = d.update
	}
	r.Overrides = d.update.Digest
}

// readOwnRecord reads the record of an image whose ref names commit. The zero Record stands for
// none.
func readOwnRecord(repo *ostreerepo.Repo, ref string, commit objects.Checksum) (Record, error) {
	c, err := repo.Resolve(reference.RecordRef(ref))
	if errors.Is(err, ostreerepo.ErrNoRef) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, err
	}
	r, err := ReadRecordCommit(repo, c)
	if err != nil || r.ImageRef != ref || r.Commit != commit {
		return Record{}, err
	}
	return r, nil
}

// ReadRecordCommit reads a record's commit.
func ReadRecordCommit(repo *ostreerepo.Repo, commit objects.Checksum) (Record, error) {
	c, err := repo.Commit(commit)
	if err != nil {
		return Record{}, err
	}
	ref, err := metadataString(c.Metadata, metaRecordRef)
	if err != nil {
		return Record{}, err
	}
	about, err := recordedCommit(c.Metadata)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		ImageRef: ref, Commit: about,
		Update: readDocuments(c.Metadata, metaRecordDigest, metaRecordManifest, metaRecordConfig),
	}
	r.SignatureText, _ = c.Metadata[metaRecordSignature].AsString()
	overrides, _ := c.Metadata[metaRecordOverrides].AsString()
	r.Overrides = digest.Digest(overrides)
	return r, nil
}

// WriteRecord writes a record's commit, which reference.RecordRef(r.ImageRef) is to name. Equal
// records are one commit.
func WriteRecord(to ostreerepo.Objects, r Record) (objects.Checksum, error) {
	metadata := objects.Dict{metaRecordRef: objects.String(r.ImageRef), metaRecordCommit: objects.String(r.Commit.String())}
	for key, text := range map[string]string{
		metaRecordSignature: r.SignatureText, metaRecordDigest: r.Update.Digest.String(), metaRecordManifest: r.Update.Manifest,
		metaRecordConfig: r.Update.Config, metaRecordOverrides: r.Overrides.String(),
	} {
		if text != "" {
			metadata[key] = objects.String(text)
		}
	}
	return writeRecordCommit(to, metadata)
}
