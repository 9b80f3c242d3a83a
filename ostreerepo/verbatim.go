package ostreerepo

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// WriteFileAs writes a content object that comes from another repository, a regular file or a
// symlink, under the checksum that it must have. The content is what the reader gives up to its
// end: exactly size bytes, which are none for a symlink. An object with another checksum never gets
// a name: ErrMismatch. Nothing is put in order: a header that this repository can't keep as it is,
// or with extended attributes that Linux never takes, gives ErrInvalid. An error of the reader is
// wrapped. Other errors: ErrNoSpace, ErrReadOnly.
//
// Whether the object is there already is not asked before the content is read; ask Has.
func (s *Staging) WriteFileAs(want objects.Checksum, h objects.FileHeader, size int64, content io.Reader) error {
	err := checkVerbatim(s.repo.config.mode, h)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	case h.IsSymlink():
		err = s.writeSymlinkAs(want, h, size)
	default:
		_, err = s.writeFile(h, size, content, &want)
	}
	if err != nil {
		return fmt.Errorf("write file %s: %w", want, withCause(err))
	}
	return nil
}

func (s *Staging) writeSymlinkAs(want objects.Checksum, h objects.FileHeader, size int64) error {
	if size != 0 {
		return fmt.Errorf("a symlink with %d bytes of content", size)
	}
	if err := checkMatch(objects.ChecksumOf(h.ChecksumPrefix()), &want); err != nil {
		return err
	}
	return s.placeSymlink(want, h)
}

// checkVerbatim refuses a header that would be another one when the object is read back from a
// repository of this mode.
func checkVerbatim(mode Mode, h objects.FileHeader) error {
	if err := h.Valid(); err != nil {
		return err
	}
	if canonical := h.Xattrs.Canonical(); len(canonical) != len(h.Xattrs) || len(canonical) > 0 && !reflect.DeepEqual(canonical, h.Xattrs) {
		return errors.New("its extended attributes are not in order, or one has no value: ostree would take it for corrupted; " +
			"make the commit again with ostree 2025.2 or newer")
	}
	canonical, err := h.Canonical()
	if err != nil || mode != ModeBare {
		return err
	}
	if err := checkSame(h, canonical); err != nil {
		return fmt.Errorf("%w; use a repository of mode %s or %s", err, ModeBareUser, ModeArchive)
	}
	const keep = math.MaxUint32 // to chown
	if h.UID == keep || h.GID == keep {
		return fmt.Errorf("the owner %d:%d can't be given to a file; use a repository of mode %s", h.UID, h.GID, ModeBareUser)
	}
	if h.IsSymlink() && h.Mode != unix.S_IFLNK|0o777 {
		return fmt.Errorf("the mode of the symlink is %#o, which only a repository of mode %s or %s can hold", h.Mode&permissions, ModeBareUser, ModeArchive)
	}
	return nil
}

// WriteMetadata writes a commit, dirtree or dirmeta object that comes from another repository, byte
// by byte, under the checksum that it must have: ErrMismatch for another. It must be in the normal
// form of its type, and Linux must take a directory's extended attributes: ErrInvalid. Other
// errors: ErrNoSpace, ErrReadOnly.
func (s *Staging) WriteMetadata(kind objects.Kind, want objects.Checksum, b []byte) error {
	if err := checkMetadata(kind, want, b); err != nil {
		return fmt.Errorf("write %s %s: %w", kind, want, err)
	}
	_, err := s.writeMetadata(kind, b)
	return err
}

func checkMetadata(kind objects.Kind, want objects.Checksum, b []byte) error {
	if err := checkMatch(objects.ChecksumOf(b), &want); err != nil {
		return err
	}
	var err error
	switch kind {
	case objects.KindCommit:
		_, err = objects.ParseCommit(b)
	case objects.KindDirTree:
		_, err = objects.ParseDirTree(b)
	case objects.KindDirMeta:
		var m objects.DirMeta
		if m, err = objects.ParseDirMeta(b); err == nil {
			err = m.Xattrs.CheckLinux(m.Mode)
		}
	default:
		err = errors.New("no metadata object that has a checksum")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// WriteDetached writes the detached metadata of a commit, which land with it and replace what the
// repository has of that commit. Errors: ErrNoSpace, ErrReadOnly.
func (s *Staging) WriteDetached(c objects.Checksum, d objects.Dict) error {
	b := d.Marshal()
	err := checkMetadataSize(b)
	if err == nil {
		err = s.replace(objects.KindCommitMeta, c, func(at tempName) error { return at.createPlain(b) })
	}
	if err != nil {
		return fmt.Errorf("write %s of %s: %w", objects.KindCommitMeta, c, withCause(err))
	}
	return nil
}

// checkMatch returns ErrMismatch unless want is nil or c.
func checkMatch(c objects.Checksum, want *objects.Checksum) error {
	if want == nil || c == *want {
		return nil
	}
	return fmt.Errorf("%w: %s where it should have %s", ErrMismatch, c, *want)
}
