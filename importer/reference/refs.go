package reference

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// The prefixes of the refs that an image store consists of, as ostree-ext lays it out.
const (
	BlobPrefix      = "ostree/container/blob"      // + escaped blob digest: one layer
	ImagePrefix     = "ostree/container/image"     // + escaped Image.String: one image
	BaseImagePrefix = "ostree/container/baseimage" // + owner/number: commits whose layers are to be kept
)

// RecordPrefix is the prefix of the refs of records: what is known of an image besides its commit.
// Only this program has them.
const RecordPrefix = "ostree-importd/record"

// RecordRef returns the ref of the record of the image that imageRef names. Its last component is
// the SHA-256 of imageRef, so that no two records need one name as a file and as a directory, and
// none is too long.
func RecordRef(imageRef string) string {
	sum := sha256.Sum256([]byte(imageRef))
	return RecordPrefix + "/" + hex.EncodeToString(sum[:])
}

// BlobRef is the ref of the layer whose blob has digest d. A digest that isn't valid is an error.
func BlobRef(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("layer digest %q: %w", d, err)
	}
	return Escape(BlobPrefix, d.String())
}

// ImageRef is the ref of an image. Some names can't be recorded; the error says why.
func ImageRef(i Image) (string, error) {
	return Escape(ImagePrefix, i.String())
}

// ImageOfRef is the image whose ImageRef is ref. Any other ref is an error.
func ImageOfRef(ref string) (Image, error) {
	text, err := Unescape(ImagePrefix, ref)
	if err != nil {
		return Image{}, err
	}
	image, err := ParseImage(text)
	if err != nil {
		return Image{}, fmt.Errorf("the ref %q names no image: %w", ref, err)
	}
	if image.String() != text {
		return Image{}, fmt.Errorf("the ref %q names no image: %q would be recorded as %q", ref, text, image)
	}
	return image, nil
}
