// Package dirfd works in directories that are held by descriptors.
//
// Whoever owns a directory can replace what is in it at any moment, for instance a directory by a
// symbolic link to somewhere else. A path that is written down and used twice may therefore lead to
// two places. A Dir is resolved once, when it is opened; from then on everything in it is created,
// opened, renamed and removed relative to its descriptor, and symbolic links are never followed
// (openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, Linux 5.6). Above it, root follows only
// root's symbolic links.
//
//	Open(path) ──▶ Dir ── OpenDir, MakeDir ──▶ Dir
//	                └── OpenFile, Rename, Remove, RemoveAll, Stat, Names
package dirfd
