package importer

import (
	"context"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Source is one opened image. Its errors are *Error values where their class is known: Kind,
// Retryable and Hint are kept.
type Source interface {
	// Manifest gives the image's manifest in OCI form and the digest of the manifest as its origin
	// stores it. The bytes hash to that digest unless the source had to convert them from another
	// format.
	Manifest(ctx context.Context) (raw []byte, dgst digest.Digest, err error)

	// Config gives the bytes whose digest the manifest names as config.
	Config(ctx context.Context) (raw []byte, err error)

	// Blob gives the raw bytes of a layer, from the start. It may be called concurrently. A Read
	// fails with the source's error, and never ends with a clean EOF after a fault that the source
	// knows of. Close releases everything at any time.
	Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)

	Close() error
}

// OpenFunc opens an image. The context is for the opening alone; a Source that it returned is ended
// by Close.
type OpenFunc func(ctx context.Context, image reference.Image, access Access) (Source, error)

// Access says how a source is reached. The zero value means the configured credentials and verified
// TLS.
type Access struct {
	AuthFile       string   `json:"authfile,omitempty"`
	Anonymous      bool     `json:"auth-anonymous,omitempty"`
	CertDir        string   `json:"cert-dir,omitempty"`
	SkipTLSVerify  bool     `json:"insecure-skip-tls-verification,omitempty"`
	DecryptionKeys []string `json:"decryption-keys,omitempty"`
	// AuthFD takes the place of AuthFile, and KeyFDs those of the DecryptionKeys that are files, in
	// their order.
	AuthFD *Descriptor   `json:"authfile-fd,omitempty"`
	KeyFDs []*Descriptor `json:"decryption-key-fds,omitempty"`

	opened *Descriptor
}

// With is the access to an image that the caller has opened; nil for one that it has not.
func (a Access) With(image *Descriptor) Access {
	a.opened = image
	return a
}

// Opened is the image if the caller has opened it, or nil.
func (a Access) Opened() *Descriptor { return a.opened }

// IsZero tells whether nothing is asked for; an empty list of keys is none.
func (a Access) IsZero() bool {
	return a.AuthFile == "" && !a.Anonymous && a.CertDir == "" && !a.SkipTLSVerify && len(a.DecryptionKeys) == 0 &&
		a.AuthFD == nil && len(a.KeyFDs) == 0 && a.opened == nil
}

// KeyFile parts a decryption key as ocicrypt-keys(7) and skopeo write it: the path of a file, and a
// password that begins with the first colon, "" for none. isFile is false for a key that a provider
// or a token holds.
func KeyFile(key string) (path, password string, isFile bool) {
	if strings.HasPrefix(key, "provider:") || strings.HasPrefix(key, "pkcs11:") {
		return "", "", false
	}
	if colon := strings.IndexByte(key, ':'); colon >= 0 {
		return key[:colon], key[colon:], true
	}
	return key, "", true
}

// LayerSource is a Source that may store layers in another way than the manifest says.
type LayerSource interface {
	Source

	// Layers gives the descriptors that Blob wants for the layers, lowest first. Each is either
	// that of the manifest, or one of the uncompressed layer, whose digest is the diff ID; a size
	// of -1 is not known.
	Layers(ctx context.Context) ([]ocispec.Descriptor, error)
}
