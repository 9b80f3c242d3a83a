package ostreerepo

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// FileSize tells how many bytes of content a content object has, as far as its file says, which is
// not verified. That of a symlink means nothing. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) FileSize(c objects.Checksum) (uint64, error) {
	size, err := fileSize(r.config.mode, r.objectPath(objects.KindFile, c))
	var broken brokenError
	switch {
	case errors.As(err, &broken):
		return 0, corrupted(objects.KindFile, c, err)
	case err != nil:
		return 0, readError(objects.KindFile, c, err)
	}
	return size, nil
}

func fileSize(mode Mode, path string) (uint64, error) {
	switch mode {
	case ModeBare, ModeBareUser:
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return 0, err
		}
		return uint64(stat.Size), nil
	case ModeArchive:
		f, err := openRegular(path)
		if err != nil {
			return 0, err
		}
		_, size, err := readArchiveHeader(f)
		return size, errors.Join(err, f.Close())
	}
	return 0, unsupportedMode(mode)
}

// Scratch makes a directory in the staging that only this process's user may enter, on the
// repository's file system. It is deleted with the staging.
func (s *Staging) Scratch() (string, error) {
	path, err := os.MkdirTemp(s.path, "scratch-")
	if err != nil {
		return "", fmt.Errorf("staging: %w", withCause(err))
	}
	return path, nil
}
