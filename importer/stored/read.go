package stored

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Metadata keys of a merge commit; the values are strings. Other importers write and read the same.
const (
	MetaConfig         = "ostree.container.image-config"
	MetaManifest       = "ostree.manifest"
	MetaManifestDigest = "ostree.manifest-digest"
)

// MetaConfigDigest (s) in the metadata of a merge commit is the digest of the image's config, where
// that has no canonical form and MetaConfig is what could be kept of it.
const MetaConfigDigest = "ostree-importd.config-digest"

// MetaUnverified (as) in the metadata of a merge commit names the layers, by their digests, that it
// was made of as another program had stored them. This program has not verified these; absent for
// none.
const MetaUnverified = "ostree-importd.unverified-layers"

// Image is an image as its merge commit tells it, whoever wrote that.
type Image struct {
	Commit      objects.Checksum
	Object      objects.Commit // what Commit names; zero when that can't be read
	Digest      digest.Digest  // of the manifest
	RawManifest []byte
	RawConfig   []byte // nil when the commit has none, or null
	// ConfigReplaced says that RawConfig is only what could be kept of the image's config.
	ConfigReplaced bool
	Manifest       *ocispec.Manifest
	Config         *document.Config
	// Unverified are the layers that MetaUnverified names.
	Unverified []digest.Digest
}

// ReadImage reads a merge commit. What could be read is returned along with the error.
func ReadImage(repo *ostreerepo.Repo, commit objects.Checksum) (Image, error) {
	s := Image{Commit: commit, Manifest: &ocispec.Manifest{}, Config: &document.Config{}}
	c, err := repo.Commit(commit)
	if err != nil {
		return s, err
	}
	s.Object = c
	unverified, _ := c.Metadata[MetaUnverified].AsStrings()
	for _, d := range unverified {
		s.Unverified = append(s.Unverified, digest.Digest(d))
	}
	text, err := metadataString(c.Metadata, MetaManifestDigest)
	if err != nil {
		return s, err
	}
	s.Digest = digest.Digest(text)
	if text, err = metadataString(c.Metadata, MetaManifest); err != nil {
		return s, err
	}
	s.RawManifest = []byte(text)
	if s.Manifest, err = document.ParseManifest(s.RawManifest); err != nil {
		s.Manifest = &ocispec.Manifest{}
		return s, err
	}
	if text, ok := c.Metadata[MetaConfig].AsString(); ok && text != "null" {
		s.RawConfig = []byte(text)
	}
	_, s.ConfigReplaced = c.Metadata[MetaConfigDigest]
	config, err := document.ParseConfig(s.RawConfig)
	if err != nil {
		return s, err
	}
	s.Config = config
	return s, checkTree(repo, commit, c)
}

// Kinds gives the kinds of the image's layers, all "" for an image that was stored without its
// config, from which alone they follow.
func (s *Image) Kinds() []string {
	if s.RawConfig == nil {
		return make([]string, len(s.Manifest.Layers))
	}
	return document.Kinds(s.Config, len(s.Manifest.Layers))
}

func metadataString(metadata objects.Dict, key string) (string, error) {
	v, ok := metadata[key]
	if !ok {
		return "", fmt.Errorf("the commit has no metadata %s", key)
	}
	text, ok := v.AsString()
	if !ok || text == "" {
		return "", fmt.Errorf("the commit's metadata %s is not a text", key)
	}
	return text, nil
}

// checkTree reports a commit that is not whole. When ostree knows that, as after `ostree fsck
// --delete`, the commit counts as missing, and landing it again completes it. When ostree doesn't,
// landing it again would change nothing, so it counts as corrupted.
func checkTree(repo *ostreerepo.Repo, commit objects.Checksum, c objects.Commit) error {
	switch _, err := os.Lstat(filepath.Join(repo.Path(), "state", commit.String()+".commitpartial")); {
	case err == nil:
		return fmt.Errorf("%w: commit %s is incomplete", ostreerepo.ErrNoObject, commit)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if repo.Has(objects.KindDirTree, c.Tree) && repo.Has(objects.KindDirMeta, c.Meta) {
		return nil
	}
	return fmt.Errorf("%w: the root of commit %s is missing; `ostree refs --delete` of what names it and `ostree prune --refs-only` make room for a good copy",
		ostreerepo.ErrCorrupted, commit)
}

// RefError adds to the error of resolving a ref what helps against a damaged one, which ostree
// doesn't overwrite.
func RefError(ref string, err error) error {
	if errors.Is(err, ostreerepo.ErrCorrupted) {
		return fmt.Errorf("%w; `ostree refs --delete %s` makes room for a good one", err, ref)
	}
	return err
}
