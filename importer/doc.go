// Package importer turns one container image into one OSTree commit.
//
// The flow of an import:
//
//	Prepare  reference → source opened → manifest and config, both verified → Plan
//	Import   every missing layer, several at once: blob → layertar → staging → landed with its ref
//	         all layer commits → merge → staging → landed with the image ref
//
// A Plan says what an import will do and is plain data: it can be stored, shown, and taken up later by Resume, which then
// imports exactly the manifest that was prepared, whatever the tag has become.
//
// Invariants:
//
//   - The repository is the only state. A layer is a ref ostree/container/blob/…, an image is a ref ostree/container/image/…,
//     everything else is in the metadata of their commits. An import that was killed is resumed by running it again.
//   - A ref appears after what it names is verified, and the image ref appears last. A failed import leaves finished layers,
//     each of which is complete and verified, and nothing else.
//   - Commits are deterministic: one image gives the same checksums in every repository and on every host whose path rules
//     are the same.
//   - What comes from outside is bounded and checked here, whatever the source promises: sizes, digests, diff IDs, media types.
//   - Every failure is an *Error that names its kind, stage, layer and entry. A broken stored image breaks only itself.
package importer
