// Package encapsulate writes an OSTree commit as a container image, in the format of ostree-ext, so
// that its readers and ours get the same commit back, checksum, signatures and all.
//
//	commit ── scan ──▶ tree ── part ──▶ components ── pack ──▶ chunks ── archiver ──▶ layers ──▶ documents
//
// The first layer holds the commit, its detached metadata, and all directories. The contents of
// files are in the other layers, the chunks; without chunks they are in the first layer too. A
// layer is an archive in which the objects stand below sysroot/ostree/repo, and hard links to them
// at the places that the files have in the commit, so that a container engine, which knows nothing
// of OSTree, unpacks the commit's tree. /usr/etc of the commit is /etc there.
//
// # Chunks
//
// An update of the system makes others fetch the layers that have changed. So what changes together
// shares a chunk: the kernel, a large package, one that changes often; and small packages are
// assigned to a few chunks by the hash of their names, which stays the same whatever else comes and
// goes. The packages are those of the RPM database, else of the dpkg database, that the commit
// holds, wherever it keeps it. Without either directories take the place of packages. The manifest
// of an earlier image, given as Options.Prior, fixes the assignment for all that was in it.
//
// The last layer is an empty chunk, unless the image may have fewer than four layers. It is what
// the label ostree.final-diffid names. When ostree-ext exports a stored image again (`bootc image
// copy-to-storage`), it makes new archives, which have other diffIDs than ours, and keeps the
// label: that stays true because its empty chunk has the bytes of ours.
//
// # Invariants
//
//   - Every content object of the commit is in exactly one layer.
//   - What is written was verified against its checksum. Damage in the repository is an error that names object and path.
//   - The same commit and options give the same bytes.
//   - Memory grows with the number of files, not with their sizes.
package encapsulate
