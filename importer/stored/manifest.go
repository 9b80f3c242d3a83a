package stored

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Manifest gives the manifest of an image and its digest, whatever else of the image is missing;
// nil for a commit that is no image's.
func Manifest(repo *ostreerepo.Repo, commit objects.Checksum) (*ocispec.Manifest, digest.Digest, error) {
	c, err := repo.Commit(commit)
	if err != nil {
		return nil, "", err
	}
	if _, ok := c.Metadata[MetaManifest]; !ok {
		return nil, "", nil
	}
	text, err := metadataString(c.Metadata, MetaManifest)
	if err != nil {
		return nil, "", err
	}
	m, err := document.ParseManifest([]byte(text))
	if err != nil {
		return nil, "", err
	}
	dgst, _ := c.Metadata[MetaManifestDigest].AsString()
	return m, digest.Digest(dgst), nil
}
