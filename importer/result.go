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
	Layers         []LayerResult `json:"layers"`
	// Filtered counts, per layer that has any, the entries that the path rules left out.
	Filtered     map[digest.Digest]map[string]uint32 `json:"filtered"`
	BytesFetched uint64                              `json:"bytes-fetched"` // compressed, repeated attempts included
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
}
