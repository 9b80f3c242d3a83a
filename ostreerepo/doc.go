// Package ostreerepo is one OSTree repository: the ostree commands that change it, and native
// reading of its objects.
//
// # Who writes
//
// The ostree command is the only writer of a repository's objects/ and refs/: it takes the locks
// and makes the transactions that other programs rely on. This package starts it for everything
// that changes the repository, in one place (run). Reading needs no process and no lock, since
// objects never change and refs are replaced by a rename: a native read takes microseconds, a
// process takes about ten milliseconds. Metadata objects are verified against their checksum when
// read; content is verified when its end is reached.
//
// # Staging and landing
//
// New commits are made in a Staging: a private repository of the same mode in the repository's
// tmp/, so on the same file system. Objects and refs are written there natively. Nothing of it can
// be seen in the repository until Land has `ostree pull-local` bring all refs of the staging, with
// the objects that the repository lacks, in one transaction: objects as hard links, then refs. So a
// caller can write what is not verified yet, and land it when it is.
//
//	NewStaging ── WriteFile, WriteSymlink, WriteDirMeta, WriteDirTree, WriteCommit ── SetRef ── Land ── Close
//	           └─ WriteFileAs, WriteMetadata, WriteDetached ── Complete ─┘
//
// The first way makes new objects and puts their parts in order. The second takes over those of a
// commit that was made elsewhere, byte by byte and each checked against its name before it gets it;
// Complete then tells whether anything is missing.
//
// Writing natively is why an import is fast: for a layer of 582 MB in 11,500 files it takes about
// half the time and processor that `ostree commit --tree=tar` takes, most of the difference being
// SHA-256 and the reading of the archive. Landing its 10,000 objects takes 0.2 to 0.5 seconds, of
// which a half is waiting for the disk; besides, pull-local walks the whole tree of each commit, 40
// ms for 11,500 files, also where little is new.
//
// How files are written was measured too, with 4 KiB each: a temporary file in the directory of the
// object and a rename take 15 to 28 µs, a temporary file in one directory for all 40 to 50 µs,
// since a rename between directories takes a lock of the whole file system. Creating the file under
// its own name would take 12 to 22 µs, but then another goroutine could take a half-written object
// for a whole one. Files up to 1 MiB are hashed in memory, so that nothing is written for what is
// there already. Having the disk begin with each file as it is closed (sync_file_range) showed no
// gain over leaving that to the kernel and pull-local.
//
// # Crashes
//
// A staging is a temporary directory of package tempdir: when its process is killed, the next Sweep
// or NewStaging of any process deletes it. Its name begins with "importd-", as libostree deletes
// "staging-*" when it likes; and its time stamp is renewed, as libostree deletes whatever is older
// than a day.
//
// Objects of a staging get their names in objects/ after pull-local's syncfs, so that they are on
// the disk before a ref can reach them. A landing that is killed leaves some objects that no ref
// reaches, and what pull-local uses in tmp/ and state/; both go with its next success and with a
// prune.
//
// # Same checksums everywhere
//
// The same content gives the same commit in every mode, because every new object has the form in
// which Linux gives back a file that has been made of it: extended attributes are sorted, those
// with an empty value dropped, symlinks have mode 0777, and file capabilities and access control
// lists are as the kernel stores them (objects.FileHeader.Canonical). What Linux never takes is
// refused in every mode. Owner, mode and extended attributes of each file of a bare repository are
// read back before it gets its name, since a file system may have its own ways. Objects that come
// with a checksum cannot be changed: those whose form is another one are refused by bare
// repositories and stored as they are by others.
package ostreerepo
