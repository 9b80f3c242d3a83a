// Package roottree writes the files of a commit out as they are there: as an archive, or into a
// directory.
//
//	Count ── Walk ──▶ Entry ──▶ Archive   a PAX archive: owners, modes, extended attributes, symbolic links
//	                       └──▶ Unpack    the same in a directory, for programs that read no archives
//
// What comes out depends on nothing but the commit: entries are sorted, every time is 0, and paths
// are those of the commit, so that /etc of a system is usr/etc. Files with the same content at
// several paths are written as often: whoever unpacks the archive can change one without changing
// the others. (Archive.AddShared is for callers who want it otherwise.)
//
// # Invariants
//
//   - Contents are streamed, and verified against their checksum before they count as written. Damage is an error with path and object.
//   - A commit of a few objects can describe a tree of any size. Count refuses what is beyond the bounds before anything is written.
//   - Memory grows with the number of directories, not with files, unless Archive.AddShared is used.
package roottree
