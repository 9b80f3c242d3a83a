// Package export writes stored images out: with their layers, as an OCI image, or as the file
// system that the layers make together.
//
//	Root   commit ── package roottree ──▶ tar archive
//	                            └── sqfstar, mksquashfs, mkfs.erofs ──▶ file system image
//	Image  base commit ── package encapsulate ──▶ its layers ─┐
//	       layer commits ── whiteouts, etc, var ──▶ archives ─┴── package ocilayout ──▶ OCI image
//
// # Roots
//
// A root is the commit as it is: with owners, modes and extended attributes, all times 0, and with
// /etc of the system in usr/etc. A mounted file system image shows what `ostree checkout` of the
// commit would, except that files with the same content never share an inode. The programs read the
// archive from a pipe. Where they are too old to keep everything that way (squashfs-tools before
// 4.6 when the root directory is not root's or has extended attributes, erofs-utils before 1.8) the
// commit is unpacked into a directory in the repository's tmp first, which takes root's rights and
// as much space as the files have.
//
// The image's config is written beside the file, as FILE.config.json. An extended attribute of the
// file, user.ostree-importd.export, says what it was made of: an export of the same manifest and
// commit finds it and does nothing. It counts only as long as the file is as it was written, and
// that nobody else can write to it. Whatever else is at the path is replaced; what is at the
// config's path only if an export wrote it. New files have the mode 0644, less the umask.
//
// # Images
//
// The blobs of an image are not kept in a repository, so its layers are made anew, out of the
// commits that they were imported to. Their digests differ from the original ones, but the same
// stored layers give the same bytes on every host and in every repository mode. What the path rules
// left out at the import does not come back; SELinux labels of derived layers are left out, as they
// come from the host's policy. Importing the image gives the same tree. Files with content that are
// at several paths of a layer become hard links, except below etc and var, where programs change
// files in place. Extended attributes whose names have an equals sign are written as libarchive
// does it (LIBARCHIVE.xattr), which importers of images other than this one may not read.
//
// # Invariants
//
//   - A destination holds what it did before, or everything; files are made in a private directory beside it and renamed.
//   - The directory of a destination is opened once. Nothing is reached by a path that its owner could redirect (package dirfd), and
//     nothing is written into an OSTree repository.
//   - Everything that is written was verified against its checksum.
//   - What is left out gives nobody more rights: without its access control list a file's mode is narrower.
//   - Nothing is left out in silence: a result tells which extended attributes the format can't hold.
package export
