package importer

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// InitRequest asks for the repository that images are imported into to be made.
type InitRequest struct {
	// Mode is "bare", "bare-user" or "archive". Empty means that of an existing repository, and for
	// a new one "bare" if root makes it and "bare-user" otherwise.
	Mode string `json:"mode,omitempty"`
}

// InitResult is the repository that there is now.
type InitResult struct {
	Repository string `json:"repository"` // its path
	Mode       string `json:"mode"`
	Created    bool   `json:"created"` // false: it was there before
}

// UnencapsulateRequest asks for the OSTree commit inside an encapsulated image, without an image
// being recorded.
type UnencapsulateRequest struct {
	Image string `json:"image"` // any form that reference.Parse accepts
	// Ref is the ref that is to name the commit. Without one the commit stays only as long as its
	// layer refs do.
	Ref string `json:"write-ref,omitempty"`
	// Digest, when set, is the only manifest digest that is accepted.
	Digest digest.Digest `json:"require-manifest-digest,omitempty"`
	Jobs   int           `json:"jobs,omitempty"` // layers to fetch at once; 0 means the importer's default
	// SkipGC keeps layers that no image needs any more, those of the commit too: of a later version
	// fewer need to be fetched then.
	SkipGC bool   `json:"skip-gc,omitempty"`
	Access Access `json:"access,omitzero"`
	// ImageFD is the image's file or directory, if the caller has opened it.
	ImageFD *Descriptor `json:"image-fd,omitempty"`
}

// UnencapsulateResult is what Unencapsulate did.
type UnencapsulateResult struct {
	Reference      string        `json:"reference"`
	ManifestDigest digest.Digest `json:"manifest-digest"`
	Commit         string        `json:"commit"`
	Ref            string        `json:"ref,omitempty"`
	Version        string        `json:"version,omitempty"`
	VerifyText     string        `json:"verify-text,omitempty"` // what the check of the commit's signatures said
	LayersFetched  int           `json:"layers-fetched"`
	BytesFetched   uint64        `json:"bytes-fetched"`
}

// EncapsulateRequest asks for an image of a commit.
type EncapsulateRequest struct {
	Rev          string            `json:"rev"`         // a ref or a commit's checksum
	Destination  string            `json:"destination"` // what export.CheckImage takes
	Labels       map[string]string `json:"labels,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Architecture string            `json:"arch,omitempty"`       // as OCI names it; empty means the host's
	MaxLayers    int               `json:"max-layers,omitempty"` // 0 means 64
	SingleLayer  bool              `json:"single-layer,omitempty"`
	Compression  string            `json:"compression,omitempty"` // gzip (the default), zstd or none
	// CompressionLevel is 1 to 9 of gzip, 1 to 22 of zstd; 0 means the usual one.
	CompressionLevel int `json:"compression-level,omitempty"`
	// Copy names keys of the commit's metadata whose texts become labels; without one the request
	// fails. CopyOptional names those that the commit need not have.
	Copy         []string `json:"copy-metadata,omitempty"`
	CopyOptional []string `json:"copy-metadata-optional,omitempty"`
	Created      string   `json:"created,omitempty"` // as RFC 3339 writes it; empty means the commit's timestamp
	// ContainerConfig is the path of a JSON file with what an image's config has under the name
	// config. What the other fields say goes before.
	ContainerConfig string `json:"container-config,omitempty"`
	// ContentMap is the path of a JSON file that encapsulate.ParseContentMap reads.
	ContentMap string `json:"content-map,omitempty"`
	// Prior names an earlier image of the same system: what shared a layer in it does so again, so
	// that hosts that have it fetch less.
	Prior string `json:"prior,omitempty"`
	// PriorFD is the file or directory of Prior, if the caller has opened it.
	PriorFD *Descriptor `json:"prior-fd,omitempty"`
	// DestinationFD is the directory that the destination is in, if the caller has opened it. What
	// is made there is the caller's.
	DestinationFD *Descriptor `json:"destination-fd,omitempty"`
	Access        Access      `json:"access,omitzero"` // of what is pushed to, and of Prior
}

// EncapsulateResult is the image that Encapsulate made.
type EncapsulateResult struct {
	Destination    string              `json:"destination"`
	Commit         string              `json:"commit"`
	ManifestDigest digest.Digest       `json:"manifest-digest"`
	ConfigDigest   digest.Digest       `json:"config-digest"`
	Layers         []EncapsulatedLayer `json:"layers"`
	// Chunking says what the layers were made by: "single", "rpm", "dpkg", "map" or "size".
	Chunking string `json:"chunking"`
	// Note says why the layers are not by package though the commit has a package database.
	Note string `json:"note,omitempty"`
}

// EncapsulatedLayer is one layer of an image that was made.
type EncapsulatedLayer struct {
	Digest digest.Digest `json:"digest"`
	DiffID digest.Digest `json:"diff-id"`
	Size   uint64        `json:"size"` // compressed
	Name   string        `json:"name"`
}

// RemoveRequest asks for images to be dropped. An image that isn't stored is no error.
type RemoveRequest struct {
	Images []string `json:"images"`
	// Force drops also images that a deployment uses: they lose their names, and keep the layers
	// that the deployment needs.
	Force  bool `json:"force,omitempty"`
	SkipGC bool `json:"skip-gc,omitempty"`
}

// RemoveResult is what Remove did.
type RemoveResult struct {
	Removed   []string     `json:"removed"`
	Missing   []string     `json:"missing"` // were not stored
	Collected *PruneResult `json:"collected,omitempty"`
}

// PruneScope says what Prune looks at.
type PruneScope string

const (
	// PruneLayers drops layers that nothing needs, and then unreachable objects.
	PruneLayers PruneScope = "layers"
	// PruneImages drops the images too that the policy of the request doesn't keep.
	PruneImages PruneScope = "images"
)

// PruneRequest asks for what nothing needs to be dropped.
type PruneRequest struct {
	Scope  PruneScope `json:"scope"`
	DryRun bool       `json:"dry-run,omitempty"`
	// KeepLast, with PruneImages, is how many undeployed images of one name, whatever their tags,
	// are kept, the youngest ones; 0 keeps none.
	KeepLast int `json:"keep-last,omitempty"`
	// Quota, with PruneImages, is how many bytes undeployed images may take after that; 0 means no
	// limit.
	Quota uint64 `json:"quota,omitempty"`
}

// PruneResult is what Prune did, or would do.
type PruneResult struct {
	DryRun  bool        `json:"dry-run,omitempty"`
	Refs    []PrunedRef `json:"refs"` // every image, layer and record ref, by name
	Images  int         `json:"images"`
	Layers  int         `json:"layers"`
	Objects int         `json:"objects"`
	Bytes   uint64      `json:"bytes"` // freed on disk
}

// PrunedRef is what Prune decided on one ref.
type PrunedRef struct {
	Ref     string `json:"ref"`
	Name    string `json:"name"` // the image's reference or the layer's digest; for a record the image that it is about
	Deleted bool   `json:"deleted"`
	Reason  string `json:"reason"` // why it is kept or dropped
}

// CopyRequest asks for a stored image to be copied to another repository on this host, with its
// layers.
type CopyRequest struct {
	Image      string `json:"image"`
	Repository string `json:"repository"`             // path
	Target     string `json:"target-image,omitempty"` // the name to record it under there; empty means the same
}

// CopyResult is what Copy did.
type CopyResult struct {
	Reference      string        `json:"reference"` // in the destination
	ImageRef       string        `json:"image-ref"`
	Repository     string        `json:"repository"`
	ManifestDigest digest.Digest `json:"manifest-digest"`
	Commit         string        `json:"commit"`
	Layers         int           `json:"layers"`
}

// VerifyRequest asks for stored images to be checked.
type VerifyRequest struct {
	Images []string `json:"images"` // none means all
	Repair bool     `json:"repair,omitempty"`
	Jobs   int      `json:"jobs,omitempty"`
	Access Access   `json:"access,omitzero"` // of the sources that repair fetches from
}

// VerifyResult is what Verify found.
type VerifyResult struct {
	Images        []VerifiedImage `json:"images"`
	Objects       uint64          `json:"objects"` // that were checked, each once
	Bytes         uint64          `json:"bytes"`   // of their contents
	LayersFetched int             `json:"layers-fetched"`
	BytesFetched  uint64          `json:"bytes-fetched"`
}

// VerifiedImage is what Verify found of one image.
type VerifiedImage struct {
	Reference string `json:"reference"`
	Commit    string `json:"commit,omitempty"`
	State     string `json:"state"` // one of the States
	// NotChecked, when not empty, is why the image could not be checked whole: for reasons of the
	// machine, not of the image.
	NotChecked string `json:"not-checked,omitempty"`
	// Unverified lists what this program has not verified of the image, whatever its state.
	Unverified []Unverified `json:"unverified,omitempty"`
	Damage     []Damage     `json:"damage"`
	// Truncated is how many more damages there are than are listed.
	Truncated int `json:"truncated,omitempty"`
}

// The States of a VerifiedImage.
const (
	StateGood     = "good"
	StateDamaged  = "damaged"
	StateRepaired = "repaired"
	// StateUnverified is that of an image which is whole, but of which parts were never verified by
	// this program.
	StateUnverified = "unverified"
	StateUnchecked  = "unchecked" // could not be read whole; nothing is known to be damaged
)

// Count is how many of the images are in a state.
func (r *VerifyResult) Count(state string) int {
	n := 0
	for i := range r.Images {
		if r.Images[i].State == state {
			n++
		}
	}
	return n
}

// Damage is one thing that is wrong with a stored image.
type Damage struct {
	Layer      digest.Digest `json:"layer,omitempty"` // "" when it is the image's own commit or tree
	LayerIndex int           `json:"layer-index,omitempty"`
	Path       string        `json:"path,omitempty"`
	Object     string        `json:"object,omitempty"` // checksum and kind, as `ostree fsck` names it
	Problem    string        `json:"problem"`
}

// ExportRequest asks for a stored image to be written out.
type ExportRequest struct {
	Image       string `json:"image"`
	Destination string `json:"destination"` // what export.ParseDestination reads
	Compression string `json:"compression,omitempty"`
	// CompressionLevel is 1 to 9 of gzip, 1 to 22 of zstd; 0 means the usual one.
	CompressionLevel int    `json:"compression-level,omitempty"`
	Access           Access `json:"access,omitzero"` // of the registry that is pushed to
	// DestinationFD is the directory that the destination is in, if the caller has opened it. What
	// is made there is the caller's.
	DestinationFD *Descriptor `json:"destination-fd,omitempty"`
}

// ExportResult is what Export wrote.
type ExportResult struct {
	Destination    string        `json:"destination"`
	Reference      string        `json:"reference"`
	Commit         string        `json:"commit"`
	ManifestDigest digest.Digest `json:"manifest-digest"` // of what was written, for an image with its layers; else of the stored image
	ConfigFile     string        `json:"config-file,omitempty"`
	Size           uint64        `json:"size"`
	Cached         bool          `json:"cached"` // the destination held this image already
	// Omitted names the extended attributes that the destination's format can't hold. They are not
	// known of one that held the image already.
	Omitted []string `json:"omitted,omitempty"`
}

// CompareRequest asks for the difference of two images.
type CompareRequest struct {
	Image string `json:"image"`
	// Other is another image; empty means what Image's name stands for at its origin now.
	Other string `json:"other,omitempty"`
	// ImageNotStored and OtherNotStored let the origin be asked of an image of which none is
	// stored, beside another one; without them that is an error.
	ImageNotStored bool `json:"image-not-stored,omitempty"`
	OtherNotStored bool `json:"other-not-stored,omitempty"`

	Files  bool   `json:"files,omitempty"` // list files too, for which both must be stored
	Access Access `json:"access,omitzero"`
	// ImageFD is the file or directory that Image names at its origin, if the caller has opened it.
	ImageFD *Descriptor `json:"image-fd,omitempty"`
}

// Comparison is the difference of two images. Sizes are compressed.
type Comparison struct {
	From         ComparedImage   `json:"from"`
	To           ComparedImage   `json:"to"`
	Added        []ComparedLayer `json:"added"`
	Removed      []ComparedLayer `json:"removed"`
	Kept         []ComparedLayer `json:"kept"`
	BytesAdded   uint64          `json:"bytes-added"`
	BytesRemoved uint64          `json:"bytes-removed"`
	BytesKept    uint64          `json:"bytes-kept"`
	BytesToFetch uint64          `json:"bytes-to-fetch"` // what a pull of To fetches; also layers that are kept, if they cannot be used
	Files        []FileChange    `json:"files,omitempty"`
}

// ComparedImage is one side of a Comparison.
type ComparedImage struct {
	Reference      string        `json:"reference"`
	ManifestDigest digest.Digest `json:"manifest-digest"`
	Version        string        `json:"version,omitempty"`
	Created        time.Time     `json:"created,omitzero"`
	Commit         string        `json:"commit,omitempty"`
}

// ComparedLayer is one layer of a Comparison.
type ComparedLayer struct {
	Digest    digest.Digest `json:"digest"`
	Size      uint64        `json:"size"`
	CreatedBy string        `json:"created-by,omitempty"`
}

// FileChange is one path that differs. Sizes are in bytes, of regular files.
type FileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"` // "added", "removed" or "changed"
	What   string `json:"what,omitempty"`
}

// UpdateRequest asks whether an image has a newer version at its origin than the stored one.
type UpdateRequest struct {
	Image   string `json:"image"`
	Offline bool   `json:"offline,omitempty"` // tell what the last check found
	Forget  bool   `json:"forget,omitempty"`  // forget what the last check found, and ask nobody
	// NotStored lets the origin be asked of an image of which none is stored; without it that is an
	// error with KindNoSuchImage. Nothing is known of such an image offline, and nothing to forget.
	NotStored bool   `json:"not-stored,omitempty"`
	Access    Access `json:"access,omitzero"`
}

// Update is what is known of an image's next version. It is recorded beside a stored image, so that
// it can be told without a network. Of an image that is not stored whatever its origin has is
// available.
type Update struct {
	Stored         bool          `json:"stored"`
	Available      bool          `json:"available"`
	Reference      string        `json:"reference"`
	ManifestDigest digest.Digest `json:"manifest-digest,omitempty"`
	Version        string        `json:"version,omitempty"`
	Created        time.Time     `json:"created,omitzero"`
	LayersToFetch  int           `json:"layers-to-fetch"`
	BytesToFetch   uint64        `json:"bytes-to-fetch"`
}
