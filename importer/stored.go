package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Metadata keys of a merge commit; the values are strings. Other importers write and read the same.
const (
	metaConfig         = "ostree.container.image-config"
	metaManifest       = "ostree.manifest"
	metaManifestDigest = "ostree.manifest-digest"
)

// storedImage is an image as its merge commit tells it, whoever wrote that.
type storedImage struct {
	commit      objects.Checksum
	digest      digest.Digest
	rawManifest []byte
	rawConfig   []byte // nil when the commit has none, or null
	manifest    *ocispec.Manifest
	config      *imageConfig
}

// readStored reads a merge commit. What could be read is returned along with the error.
func (im *Importer) readStored(commit objects.Checksum) (storedImage, error) {
	s := storedImage{commit: commit, manifest: &ocispec.Manifest{}, config: &imageConfig{}}
	c, err := im.repo.Commit(commit)
	if err != nil {
		return s, err
	}
	if err := im.checkTree(commit, c); err != nil {
		return s, err
	}
	text, err := metadataString(c.Metadata, metaManifestDigest)
	if err != nil {
		return s, err
	}
	s.digest = digest.Digest(text)
	if text, err = metadataString(c.Metadata, metaManifest); err != nil {
		return s, err
	}
	s.rawManifest = []byte(text)
	if s.manifest, err = parseManifest(s.rawManifest); err != nil {
		s.manifest = &ocispec.Manifest{}
		return s, err
	}
	if text, ok := c.Metadata[metaConfig].AsString(); ok && text != "null" {
		s.rawConfig = []byte(text)
	}
	config, err := parseConfig(s.rawConfig)
	if err != nil {
		return s, err
	}
	s.config = config
	return s, nil
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

// checkTree reports a commit that is not whole. When ostree knows that, as after `ostree fsck --delete`, the commit counts as
// missing, and landing it again completes it. When ostree doesn't, landing it again would change nothing, so it counts as
// corrupted.
func (im *Importer) checkTree(commit objects.Checksum, c objects.Commit) error {
	switch _, err := os.Lstat(filepath.Join(im.repo.Path(), "state", commit.String()+".commitpartial")); {
	case err == nil:
		return fmt.Errorf("%w: commit %s is incomplete", ostreerepo.ErrNoObject, commit)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if im.repo.Has(objects.KindDirTree, c.Tree) && im.repo.Has(objects.KindDirMeta, c.Meta) {
		return nil
	}
	return fmt.Errorf("%w: the root of commit %s is missing; `ostree refs --delete` of what names it and `ostree prune --refs-only` make room for a good copy",
		ostreerepo.ErrCorrupted, commit)
}

// complete tells whether all the image's layers are there.
func (im *Importer) complete(s storedImage) bool {
	for _, l := range s.manifest.Layers {
		if _, err := im.readLayer(l.Digest); err != nil {
			return false
		}
	}
	return true
}

// storedLayer is a layer as its commit tells it.
type storedLayer struct {
	ref      string
	commit   objects.Checksum // zero when the layer is missing or damaged
	diffID   digest.Digest    // "" when the commit doesn't say: another importer wrote it
	rules    string           // likewise
	filtered map[string]uint32
}

// readLayer reads the commit of a layer. The ref is returned along with the error when the digest has one.
func (im *Importer) readLayer(d digest.Digest) (storedLayer, error) {
	ref, err := reference.BlobRef(d)
	if err != nil {
		return storedLayer{}, err
	}
	l := storedLayer{ref: ref}
	commit, err := im.repo.Resolve(ref)
	if err != nil {
		return l, refError(ref, err)
	}
	c, err := im.repo.Commit(commit)
	if err != nil {
		return l, err
	}
	if err := im.checkTree(commit, c); err != nil {
		return l, err
	}
	l.commit = commit
	if text, ok := c.Metadata[layertar.MetaDiffID].AsString(); ok {
		l.diffID = digest.Digest(text)
	}
	l.rules, _ = c.Metadata[layertar.MetaRules].AsString()
	l.filtered, _ = c.Metadata[layertar.MetaFiltered].AsCounts()
	return l, nil
}

// refError adds to the error of resolving a ref what helps against a damaged one, which ostree doesn't overwrite.
func refError(ref string, err error) error {
	if errors.Is(err, ostreerepo.ErrCorrupted) {
		return fmt.Errorf("%w; `ostree refs --delete %s` makes room for a good one", err, ref)
	}
	return err
}

// cached gives the layer's commit, and whether an import can use it as it is: it was made by the same path rules, from an
// archive with the diff ID that the image claims, and special files were left out of it only if they may be. Commits of
// other importers don't say so and are taken. A layer that is missing is just not cached; the error is about a damaged one.
func (im *Importer) cached(l LayerPlan, dropSpecial bool) (s storedLayer, ok bool, err error) {
	s, err = im.readLayer(l.Digest)
	if errors.Is(err, ostreerepo.ErrNoRef) || errors.Is(err, ostreerepo.ErrNoObject) {
		return s, false, nil
	}
	ok = err == nil && (s.rules == "" || s.rules == im.rules.String()) && (s.diffID == "" || s.diffID == l.DiffID) &&
		(dropSpecial || s.filtered[layertar.FilteredSpecial] == 0)
	return s, ok, err
}
