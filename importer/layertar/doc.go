// Package layertar turns the stream of one image layer into one OSTree commit, the layer commit.
//
// Data flows one way, each arrow a goroutine with a few recycled buffers:
//
//	blob ──▶ size, digest ──▶ decompress ──▶ diffID ──▶ archive entries ──▶ tree ──▶ commit
//	                                                          └──▶ writers ──▶ file objects in staging
//
// All but the entries, the tree and the commit is package blob's, which other kinds of layers
// share.
//
// The tree of a layer is built in memory from the entries' metadata, as the image has it; file
// contents go to the staging repository at once. When the whole stream is read and all three of
// size, digest and diffID are right, the path rules move and drop top-level directories, and the
// directories and the commit are written.
//
// A layer commit is not a root file system but a record of what the layer changes: whiteouts
// (".wh.NAME") and opaque markers (".wh..wh..opq") stand in it as empty files, and directories that
// entries need but that the archive doesn't list are named in the commit's metadata, so that
// merging them changes nothing that a lower layer says. Package merge gives them their meaning.
//
// The path rules can put two places of an image into one of the commit. Then the metadata says
// which entries are not moved, and what is covered goes into an archive of more entries in the
// commit's root, as does what a tree can't hold: hard links to lower layers, long whiteouts, what
// lies beyond links that only lower layers know. Package layertree reads a layer commit as the
// image has it.
//
// With a policy every entry is labelled by its path in the commit as it is written. Only hard links
// can have a file that was written for another path: that is written once more where the labels
// differ. Whiteouts and opaque markers have no label.
//
// Invariants:
//
//   - No commit is written before the last byte of the blob is verified. Without a commit, nothing of a staging can land.
//   - One blob, one set of rules and one policy give one commit checksum, on every host and in every repository mode.
//   - No entry leads out of the image: there is no ".." in a path, and symbolic links are followed inside the image only.
//   - Memory grows with the number of entries, not with their content, and is taken from a budget first.
package layertar
