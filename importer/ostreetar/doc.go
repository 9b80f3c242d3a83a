// Package ostreetar reads layers that hold OSTree objects: those of an image that encapsulates an
// OSTree commit.
//
// The first layer of such an image is the commit layer: the commit object, its detached metadata
// when there are any, all directories of the commit, and the contents that no other layer brings.
// The other layers of the commit are chunks, which hold contents only. Both are archives in which
// the objects stand below sysroot/ostree/repo as in a repository, so that a container runtime,
// which unpacks them all, has the commit's files at their places as hard links to the objects. What
// is at these places, and whatever else is in the archive, is passed over: only the objects count.
//
//	blob.Read ──▶ entries ──▶ names ──▶ commit, detached metadata ──▶ Options.Verify
//	                            ├──▶ extended attributes, remembered by their checksum
//	                            └──▶ dirtree, dirmeta, file ──▶ writers ──▶ objects in staging
//
// The entry of a file has its owner and mode and its content or symlink target. Its extended
// attributes, which archives keep badly, come in an entry of their own right before, as a
// serialised a(ayay). There are three encodings of that, all of which are read:
//
//	of 2021         repo/xattrs/SUM      XX/REST.file.xattrs       a hard link to it; none for a file without attributes
//	of 2022         XX/REST.file-xattrs  XX/REST.file-xattrs-link  a hard link to it
//	of 2025, today                       XX/REST.file-xattrs-link  a file with the attributes
//
// Invariants:
//
//   - No object is written that does not have the checksum its name says. So nothing that an archive tells beside the objects, be it
//     owners, modes or attributes, needs to be believed.
//   - A commit is written when the last byte of its blob is verified and Options.Verify has agreed, not before. Without a commit,
//     nothing of a staging can land.
//   - Nothing is said about the commit being complete: the chunks bring the rest. Staging.Complete tells.
//   - Memory is bounded by the number of a chunk's objects, the largest metadata object, and the extended attributes that differ.
package ostreetar
