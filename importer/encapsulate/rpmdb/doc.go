// Package rpmdb reads the RPM database of a commit: SQLite, NDB or Berkeley DB.
//
//	files ──▶ private directory ──▶ child: this program again, with Verb ──▶ records ──▶ Reader.Read
//
// A database is data that an image brings, and three formats with a library each are much to go
// wrong. So a child of the program's own reads it, as an unprivileged user, with nothing but the
// database's files, bounded in memory, time and what it may answer. The rpm command would take
// macros and plug-ins from the host, and from a home directory if it were given one.
//
// Package child is what the child runs. Its libraries only find the headers of packages; what is in
// a header is read here. Whatever goes wrong there, a panic included, is the child's end and an
// error of Reader.Read.
package rpmdb
