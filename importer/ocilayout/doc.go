// Package ocilayout writes an image as an OCI image layout: a directory, or an archive of one.
//
//	New ── AddLayer, CopyBlob, PutBlob ── Commit ── Close
//
// Blobs are streamed into a private directory on the destination's file system. Commit puts them in
// their place and lets the index name the image; before that nothing of it can be seen, and Close
// without Commit leaves no trace.
//
// A layout directory may hold other images. Commit adds its own, or replaces the one that has the
// same tag, under a lock, so that writers of different tags in one directory, in whichever
// processes, lose nothing of each other. An archive is written anew beside the destination, and
// takes its name by a rename.
//
// # Invariants
//
//   - What is written depends only on what it is written from: no times, no owners, no random names. The same layers and the
//     same manifest give the same bytes.
//   - index.json names only manifests of which all blobs are there, on the disk.
//   - A blob that is there already is kept as it is.
//   - The destination's directory is opened once; no symbolic link in it is followed, so that its
//     owner cannot lead a write elsewhere. Nothing is written into an OSTree repository.
//   - What a process that was killed leaves behind is one directory ".ostree-importd-*", which the next writer to the same
//     place deletes.
package ocilayout
