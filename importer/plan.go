package importer

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Request says what to import. Two requests are the same work when reflect.DeepEqual says so.
type Request struct {
	// Image is any form that reference.Parse accepts.
	Image string `json:"image"`
	// Target, in any of the same forms, is the name to record the image under; empty means that of
	// Image.
	Target string `json:"target-image,omitempty"`
	// NoRef imports the layers only: without a ref to hold it a merge commit could be pruned at any
	// moment, so none is written and Result.Commit is empty.
	NoRef bool `json:"no-imgref,omitempty"`
	// Digest, when set, is the only manifest digest that is accepted.
	Digest digest.Digest `json:"require-manifest-digest,omitempty"`
	// Jobs is the number of layers to fetch at once; 0 means the importer's default.
	Jobs int `json:"jobs,omitempty"`
	// DropSpecialFiles leaves devices, fifos and sockets out, and counts them, where they would be
	// an error otherwise.
	DropSpecialFiles bool `json:"drop-special-files,omitempty"`
	// Offline imports only what needs nothing from the source: an image named by a digest that is
	// stored.
	Offline bool `json:"offline,omitempty"`
	// RequireBootable refuses an image that no host could boot from: without a label that says it
	// is bootable, or made for another architecture.
	RequireBootable bool `json:"require-bootable,omitempty"`
	// Architecture, as OCI names it, is the only one that is accepted; empty accepts any, unless
	// RequireBootable is set.
	Architecture string `json:"arch,omitempty"`
	// ReuseForeign takes the derived layers that another program has stored, although nobody here
	// has verified them, and overlays them as ostree-ext does. The image is marked by that, and an
	// import without it repairs the image.
	ReuseForeign bool `json:"reuse-foreign-layers,omitempty"`
	// RequireVerified takes nothing that another program has stored and that this one has not
	// verified: it is fetched again, also of an image that is stored.
	RequireVerified bool `json:"require-verified,omitempty"`
	// SkipGC keeps layers that no image needs any more after the import.
	SkipGC bool   `json:"skip-gc,omitempty"`
	Access Access `json:"access,omitzero"`
	// ImageFD is the image's file or directory, if the caller has opened it.
	ImageFD *Descriptor `json:"image-fd,omitempty"`
}

// Plan is what an import will do. It is plain data that survives a restart as JSON.
type Plan struct {
	Request        Request       `json:"request"`
	Reference      string        `json:"reference"` // the source, as reference.Reference prints it
	ImageRef       string        `json:"image-ref"` // the ref of the image; empty with Request.NoRef
	Manifest       []byte        `json:"manifest"`
	Config         []byte        `json:"config"`
	ManifestDigest digest.Digest `json:"manifest-digest"`
	ConfigDigest   digest.Digest `json:"config-digest"`
	// ConfigReplaced says that the image's config has no canonical form: Config is not the document
	// with ConfigDigest, but what can be kept of it.
	ConfigReplaced bool        `json:"config-replaced,omitempty"`
	Layers         []LayerPlan `json:"layers"` // in manifest order, lowest first
	// BaseCommit is the OSTree commit inside an image that encapsulates one, when it is known: as
	// soon as its first layer is here.
	BaseCommit string `json:"base-commit,omitempty"`

	// AlreadyPresent says that the image is stored with this manifest digest and nothing of it is
	// missing; Commit is then its commit.
	AlreadyPresent bool   `json:"already-present"`
	Commit         string `json:"commit,omitempty"`
	// PreviousDigest is the manifest digest of the image that ImageRef names now, or "".
	PreviousDigest digest.Digest `json:"previous-digest,omitempty"`
	// PreviousVersion and PreviousCommit are those of that image; both are "" where it has none, or
	// cannot be read.
	PreviousVersion string `json:"previous-version,omitempty"`
	PreviousCommit  string `json:"previous-commit,omitempty"`

	LayersToFetch int       `json:"layers-to-fetch"` // distinct ones
	BytesToFetch  uint64    `json:"bytes-to-fetch"`  // compressed
	BytesTotal    uint64    `json:"bytes-total"`     // compressed, of all distinct layers
	Version       string    `json:"version,omitempty"`
	Created       time.Time `json:"created,omitzero"`
}

// LayerPlan is one layer of a Plan.
type LayerPlan struct {
	Digest    digest.Digest `json:"digest"`
	DiffID    digest.Digest `json:"diff-id"`
	Size      uint64        `json:"size"` // of the blob
	MediaType string        `json:"media-type"`
	Kind      string        `json:"kind"` // "ostree-commit", "ostree-chunk" or "derived"
	CreatedBy string        `json:"created-by,omitempty"`
	Ref       string        `json:"ref"`
	Commit    string        `json:"commit,omitempty"` // what Ref names now, or empty
	Cached    bool          `json:"cached"`           // Commit can be used, and nothing has to be fetched
	// ReusedFrom is a stored layer with another digest, but the same content: Commit is that
	// layer's, and Ref will name it too.
	ReusedFrom digest.Digest `json:"reused-from,omitempty"`
}
