package importer

import "github.com/opencontainers/go-digest"

// Result is what an import did; its JSON is that of `ostree-importctl pull --json`.
type Result struct {
	Reference      string        `json:"reference"`
	ImageRef       string        `json:"image-ref"` // empty with Request.NoRef
	ManifestDigest digest.Digest `json:"manifest-digest"`
	ConfigDigest   digest.Digest `json:"config-digest"`
	Commit         string        `json:"commit"`                // empty with Request.NoRef, unless already present
	BaseCommit     *string       `json:"base-commit"`           // the OSTree commit inside; null: a plain image has none
	VerifyText     string        `json:"verify-text,omitempty"` // what the check of that commit's signatures said
	AlreadyPresent bool          `json:"already-present"`
	// Changed says that the image's name stands for another commit than before, which is true of a
	// new name too. With Request.NoRef it says that a layer was fetched.
	Changed bool `json:"changed"`
	// From is what the name stood for before; null: nothing. To is what it stands for now.
	From *ImageVersion `json:"from"`
	To   ImageVersion  `json:"to"`

	Layers []LayerResult `json:"layers"`
	// Filtered counts, per layer that has any, the entries that the path rules left out.
	Filtered     map[digest.Digest]map[string]uint32 `json:"filtered"`
	BytesFetched uint64                              `json:"bytes-fetched"` // compressed, repeated attempts included
}

// ImageVersion is one of the images that a name stands for over time.
type ImageVersion struct {
	Version        string        `json:"version,omitempty"`         // as the image's label says; empty: it has none
	ManifestDigest digest.Digest `json:"manifest-digest,omitempty"` // empty for an image that is too damaged to tell
	Commit         string        `json:"commit,omitempty"`
}

// LayerResult is one layer of a Result.
type LayerResult struct {
	Digest digest.Digest `json:"digest"`
	DiffID digest.Digest `json:"diff-id"`
	Size   uint64        `json:"size"`
	Ref    string        `json:"ref"`
	Commit string        `json:"commit"`
	Kind   string        `json:"kind"`
	Cached bool          `json:"cached"`
	// Unverified says that the layer is as another program has stored it.
	Unverified bool `json:"unverified,omitempty"`
}
