package stored

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys of a merge commit's detached metadata that tell of a newer image of the same name; the values are strings. Other importers
// write and read the same.
const (
	metaCachedDigest   = "ostree-ext.cached.manifest-digest"
	metaCachedManifest = "ostree-ext.cached.manifest"
	metaCachedConfig   = "ostree-ext.cached.config"
)

// metaCachedRefs (as) says which image refs the record is about, sorted. An image that is stored under two names is one commit, and what
// is new for one name need not be so for the other. A record without it, which another importer has made, is about all of them.
const metaCachedRefs = "ostree-importd.cached.refs"

// ReadUpdate reads what is recorded of a newer image for the one that ref names. The Commit of the newer one is zero; nil means that
// nothing newer is known. An error is about the record, which SetUpdate replaces.
func ReadUpdate(repo *ostreerepo.Repo, ref string, image Image) (*Image, error) {
	detached, err := repo.Detached(image.Commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dgst, ok := detached[metaCachedDigest].AsString()
	if !ok || digest.Digest(dgst) == image.Digest || !concerns(detached, ref) {
		return nil, nil
	}
	update := &Image{Digest: digest.Digest(dgst)}
	if err := update.readRecord(detached); err != nil {
		return nil, fmt.Errorf("the recorded update: %w", err)
	}
	return update, nil
}

func (s *Image) readRecord(detached objects.Dict) error {
	manifest, err := metadataString(detached, metaCachedManifest)
	if err != nil {
		return err
	}
	config, err := metadataString(detached, metaCachedConfig)
	if err != nil {
		return err
	}
	s.RawManifest, s.RawConfig = []byte(manifest), []byte(config)
	if s.Manifest, err = document.ParseManifest(s.RawManifest); err != nil {
		return err
	}
	s.Config, err = document.ParseConfig(s.RawConfig)
	return err
}

// concerns reports whether what is recorded is about the image that ref names.
func concerns(detached objects.Dict, ref string) bool {
	refs, ok := detached[metaCachedRefs].AsStrings()
	return !ok || slices.Contains(refs, ref)
}

// ClearUpdate removes what is recorded of a newer image for the one that ref names.
func ClearUpdate(detached objects.Dict, ref string) {
	refs, _ := detached[metaCachedRefs].AsStrings()
	if left := slices.DeleteFunc(refs, func(other string) bool { return other == ref }); len(left) > 0 {
		detached[metaCachedRefs] = objects.Strings(left)
		return
	}
	for _, key := range []string{metaCachedDigest, metaCachedManifest, metaCachedConfig, metaCachedRefs} {
		delete(detached, key)
	}
}

// SetUpdate records for the image that ref names a newer one, whose merge commit would have this metadata. Only one newer image is
// recorded: other names of the same commit for which another was known lose it.
func SetUpdate(detached objects.Dict, ref string, metadata objects.Dict) {
	refs := []string{ref}
	recorded, _ := detached[metaCachedDigest].AsString()
	others, ok := detached[metaCachedRefs].AsStrings()
	if dgst, _ := metadata[MetaManifestDigest].AsString(); ok && dgst == recorded {
		refs = append(refs, others...)
	}
	slices.Sort(refs)
	detached[metaCachedRefs] = objects.Strings(slices.Compact(refs))
	detached[metaCachedDigest] = metadata[MetaManifestDigest]
	detached[metaCachedManifest] = metadata[MetaManifest]
	detached[metaCachedConfig] = metadata[MetaConfig]
}
