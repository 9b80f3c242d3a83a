// Package importer turns one container image into one OSTree commit.
//
// The flow of an import:
//
//	Prepare  reference → source opened → manifest and config, both verified → Plan
//	Import   layers of an encapsulated commit: blob → ostreetar → staging; chunks land with their refs as they come, the commit's
//	           own layer when its commit lacks nothing
//	         derived layers, on the ground that the commit is: blob → layertar → staging → landed with the ref
//	         base commit and layer commits → merge → staging → landed with the image ref
//
// Missing layers are fetched several at once. Derived layers wait for the base commit, because it
// decides which of their paths are kept and how they are labelled. Unencapsulate does the first
// part only.
//
// A Plan says what an import will do and is plain data: it can be stored, shown, and taken up later
// by Resume, which then imports exactly the manifest that was prepared, whatever the tag has
// become.
//
// Invariants:
//
//   - The repository is the only state. A layer is a ref ostree/container/blob/…, an image is a ref ostree/container/image/…,
//     everything else is in the metadata of their commits. An import that was killed is resumed by running it again. What is known
//     besides, such as an update, is in a commit of its own (recorder): the image's commit has no detached metadata.
//   - A ref is by digest alone, and one blob can be layers of different kinds: what a layer's commit looks like tells which it is.
//   - A ref appears after what it names is verified, and the image ref appears last. A failed import leaves finished layers,
//     each of which is complete and verified, and nothing else.
//   - Commits are deterministic: one image gives the same checksums in every repository and on every host whose path rules
//     are the same, whatever other images were stored before.
//   - Where an OSTree remote is to vouch for an image, nothing of it is written before the signatures of the commit in it are accepted.
//   - What comes from outside is bounded and checked here, whatever the source promises: sizes, digests, diff IDs, media types.
//   - Every failure is an *Error that names its kind, stage, layer and entry. A broken stored image breaks only itself.
package importer
