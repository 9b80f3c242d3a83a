package ostreerepo

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// maxMetadata is the largest metadata object that is read, in bytes: libostree's own limit since
// 2023.4.
const maxMetadata = 128 << 20

// Commit reads a commit object. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) Commit(c objects.Checksum) (objects.Commit, error) {
	return readMetadata(r.objectPath, objects.KindCommit, c, objects.ParseCommit)
}

// DirTree reads a dirtree object. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) DirTree(c objects.Checksum) (objects.DirTree, error) {
	return readMetadata(r.objectPath, objects.KindDirTree, c, objects.ParseDirTree)
}

// DirMeta reads a dirmeta object. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) DirMeta(c objects.Checksum) (objects.DirMeta, error) {
	return readMetadata(r.objectPath, objects.KindDirMeta, c, objects.ParseDirMeta)
}

// Detached reads the detached metadata of the commit c. Nothing vouches for it: its name is the
// commit's checksum, not its own. Errors: ErrNoObject if the commit has none, ErrCorrupted.
func (r *Repo) Detached(c objects.Checksum) (objects.Dict, error) {
	b, err := readObject(r.objectPath, objects.KindCommitMeta, c)
	if err != nil {
		return nil, err
	}
	dict, err := objects.ParseDict(b)
	if err != nil {
		return nil, corrupted(objects.KindCommitMeta, c, err)
	}
	return dict, nil
}

// Metadata reads a commit, dirtree or dirmeta object as its bytes are: what another repository gets
// of it, and what signatures are about. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) Metadata(kind objects.Kind, c objects.Checksum) ([]byte, error) {
	return readMetadata(r.objectPath, kind, c, func(b []byte) ([]byte, error) { return b, nil })
}

// Has reports whether the repository has the object. It does not look into it.
func (r *Repo) Has(kind objects.Kind, c objects.Checksum) bool {
	_, err := os.Lstat(r.objectPath(kind, c))
	return err == nil
}

// readMetadata reads an object whose name is the checksum of its bytes, verifies that, and parses
// it.
func readMetadata[T any](
	path func(objects.Kind, objects.Checksum) string, kind objects.Kind, c objects.Checksum, parse func([]byte) (T, error),
) (T, error) {
	var none T
	b, err := readObject(path, kind, c)
	if err != nil {
		return none, err
	}
	if sum := objects.ChecksumOf(b); sum != c {
		return none, corrupted(kind, c, fmt.Errorf("its checksum is %s", sum))
	}
	v, err := parse(b)
	if err != nil {
		return none, corrupted(kind, c, err)
	}
	return v, nil
}

func readObject(path func(objects.Kind, objects.Checksum) string, kind objects.Kind, c objects.Checksum) ([]byte, error) {
	f, err := os.OpenFile(path(kind, c), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, readError(kind, c, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, readError(kind, c, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxMetadata {
		return nil, corrupted(kind, c, fmt.Errorf("it is no regular file of at most %d bytes", maxMetadata))
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, readError(kind, c, err)
	}
	return b, nil
}

// readError is about an object that can't be opened or read.
func readError(kind objects.Kind, c objects.Checksum, err error) error {
	switch {
	case isNoFile(err):
		return fmt.Errorf("%w: %s %s", ErrNoObject, kind, c)
	case errors.Is(err, unix.ELOOP): // for a symlink, given O_NOFOLLOW
		return corrupted(kind, c, err)
	}
	return fmt.Errorf("read %s %s: %w", kind, c, err)
}

func corrupted(kind objects.Kind, c objects.Checksum, err error) error {
	return fmt.Errorf("%w: %s %s: %w; `ostree fsck` lists what is wrong, `ostree fsck --delete` makes room for a good copy", ErrCorrupted, kind, c, err)
}
