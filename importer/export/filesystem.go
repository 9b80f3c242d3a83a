package export

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"

	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// squashfsArgs make the same bytes of the same files: with times of 0, whatever the clock says. By
// default the memory grows with the machine's.
var squashfsArgs = []string{"-quiet", "-no-progress", "-exit-on-error", "-mem", "1G", "-all-time", "0", "-mkfs-time", "0"}

// squashfs has sqfstar read the archive, or mksquashfs a directory where sqfstar is too old for
// what the root directory has.
func (w *rootWriter) squashfs(ctx context.Context) error {
	const packages = "squashfs-tools"
	mksquashfs, err := find("mksquashfs", packages, packages)
	if err != nil {
		return err
	}
	v, err := w.versionOf(ctx, mksquashfs, "-version")
	if err != nil {
		return err
	}
	args, ok, err := w.squashfsRoot(v)
	if err != nil {
		return err
	}
	if !ok {
		return w.fromDirectory(ctx, mksquashfs, func(dir string) []string {
			return append([]string{dir, outPath, "-noappend", "-no-recovery"}, squashfsArgs...)
		})
	}
	sqfstar, err := find("sqfstar", packages, packages)
	if err != nil {
		return err
	}
	if !v.atLeast(4, 6) { // the root directory belongs to whom the program runs as
		w.User = nil
	}
	args = append(append(args, squashfsArgs...), "-force", outPath) // the file is there, and empty
	return w.fromArchive(ctx, sqfstar, args, false)
}

// plainName are names of extended attributes that need no quoting in a definition on sqfstar's
// command line.
var plainName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// maxDefinition bounds a definition there, as Linux does an argument, in bytes.
const maxDefinition = 100 << 10

// squashfsRoot gives the arguments by which sqfstar learns what the root directory is like, since
// it passes over the archive's entry of that. ok is false when this version doesn't read archives
// or can't be told.
func (w *rootWriter) squashfsRoot(v version) (args []string, ok bool, err error) {
	m, err := w.Repo.DirMeta(w.Tree.Meta)
	if err != nil {
		return nil, false, fmt.Errorf("/: %w", err)
	}
	// The first versions heed no owner of the root directory, and can't be told of extended
	// attributes.
	if !v.atLeast(4, 5) || !v.atLeast(4, 6) && m.UID|m.GID != 0 {
		return nil, false, nil
	}
	args = []string{
		"-root-mode", strconv.FormatUint(uint64(roottree.KeptMode(m.Mode, m.Xattrs, w.keep)&0o7777), 8),
		"-root-uid", strconv.FormatUint(uint64(m.UID), 10), "-root-gid", strconv.FormatUint(uint64(m.GID), 10),
	}
	for _, x := range m.Xattrs {
		if !w.keep(x.Name) {
			continue
		}
		definition := "/ x " + x.Name + "=0s" + base64.StdEncoding.EncodeToString(x.Value)
		if !v.atLeast(4, 6) || !plainName.MatchString(x.Name) || len(definition) > maxDefinition {
			return nil, false, nil
		}
		args = append(args, "-p", definition)
	}
	return args, true, nil
}

// erofs has mkfs.erofs read the archive, or a directory where it is too old for that.
func (w *rootWriter) erofs(ctx context.Context) error {
	mkfs, err := find("mkfs.erofs", "erofs-utils", "erofs-utils")
	if err != nil {
		return err
	}
	v, err := w.versionOf(ctx, mkfs, "-V")
	if err != nil {
		return err
	}
	args := []string{"--quiet", "-T0", "-U" + w.uuid()}
	if !v.atLeast(1, 8) {
		return w.fromDirectory(ctx, mkfs, func(dir string) []string { return append(args, outPath, dir) })
	}
	return w.fromArchive(ctx, mkfs, append(args, "--tar=f", outPath), true)
}

// uuid is that of the file system: another one for each image, and always the same for one.
func (w *rootWriter) uuid() string {
	sum := objects.Checksum(sha256.Sum256([]byte(w.ManifestDigest.String() + " " + w.Commit.String())))
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x80 // version 8: made as the application likes
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
