// Package objects encodes and decodes the objects of an OSTree repository: directories (dirtree),
// their metadata (dirmeta), commits, detached commit metadata, and the header of content objects.
// It does no I/O.
//
// An object is one serialised GVariant; its name is the SHA-256 of these bytes, so that an encoder
// which is off by one byte makes another object. The types and their GVariant signatures come from
// libostree's ostree-core.h, the serialisation from GVariant's specification:
//
//	dirtree      (a(say)a(sayay))            files: name, checksum; directories: name, dirtree, dirmeta
//	dirmeta      (uuua(ayay))                uid, gid, mode, extended attributes
//	commit       (a{sv}aya(say)sstayay)      metadata, parent, related, subject, body, timestamp, dirtree, dirmeta
//	commitmeta   a{sv}
//	file header  (uuuusa(ayay))              uid, gid, mode, rdev, symlink target, extended attributes
//	filez header (tuuuusa(ayay))             size, then the same
//
// The numbers of all but the metadata dictionaries are big-endian. Inside a dictionary they are in
// host order; here that is always little-endian, so that a commit has the same checksum on every
// host.
//
// # Invariants
//
// The parsers take hostile bytes: they never panic, and never allocate more than a small multiple
// of the input. They accept only the normal form of GVariant, so that Marshal of what was parsed
// gives the same bytes. There is one exception: a dictionary whose keys are not sorted is accepted,
// since other programs write such commits; Marshal sorts it.
//
// Parsed values may share memory with the input, which must not be changed afterwards.
package objects
