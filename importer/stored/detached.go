package stored

import (
	"errors"
	"slices"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys of a merge commit's detached metadata in which other programs record a newer image of the
// same name; the values are strings. They are read, never written.
const (
	metaCachedDigest   = "ostree-ext.cached.manifest-digest"
	metaCachedManifest = "ostree-ext.cached.manifest"
	metaCachedConfig   = "ostree-ext.cached.config"
)

// Keys of detached metadata that earlier versions of this program wrote, the first one along with
// those of other programs.
const (
	metaCachedRefs    = "ostree-importd.cached.refs"    // as: the image refs that the record is about
	metaSignatureText = "ostree-importd.signature-text" // s: Record.SignatureText
)

// detachedNotes is what detached metadata tell of an image.
type detachedNotes struct {
	signatureText string
	update        Documents // zero for none
	ours          bool      // update is an earlier version's, and about refs only
	refs          []string
}

// readDetached reads what the detached metadata of an image's commit tell.
func readDetached(repo *ostreerepo.Repo, commit objects.Checksum) (detachedNotes, error) {
	detached, err := repo.Detached(commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		return detachedNotes{}, nil
	}
	if err != nil {
		return detachedNotes{}, err
	}
	d := detachedNotes{update: readDocuments(detached, metaCachedDigest, metaCachedManifest, metaCachedConfig)}
	d.signatureText, _ = detached[metaSignatureText].AsString()
	d.refs, d.ours = detached[metaCachedRefs].AsStrings()
	return d, nil
}

// WithoutOurs returns a merge commit's detached metadata without what earlier versions of this
// program have put there, and whether there was any.
func WithoutOurs(detached objects.Dict) (rest objects.Dict, found bool) {
	ours := []string{metaSignatureText, metaCachedRefs}
	if _, ok := detached[metaCachedRefs]; ok {
		ours = append(ours, metaCachedDigest, metaCachedManifest, metaCachedConfig)
	}
	rest = objects.Dict{}
	for key, value := range detached {
		if slices.Contains(ours, key) {
			found = true
		} else {
			rest[key] = value
		}
	}
	return rest, found
}
