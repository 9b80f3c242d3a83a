package blob

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The ways in which a layer is not what it should be, to be asked for with errors.Is.
var (
	ErrDigest      = errors.New("the blob has another digest")
	ErrSize        = errors.New("the blob has another size")
	ErrDiffID      = errors.New("the uncompressed layer has another diffID")
	ErrCompression = errors.New("the layer's compression is unknown or damaged")
	ErrTruncated   = errors.New("the layer ends too early")
	ErrArchive     = errors.New("the layer is not a valid tar archive")
	ErrMemory      = errors.New("the layer needs too much memory to be decompressed")
)

// EntryError is an entry of an archive that can't be imported.
type EntryError struct {
	Entry string // the name in the archive, as Quote gives it
	Err   error
}

// NewEntryError is about the entry of that name.
func NewEntryError(name string, err error) error {
	return &EntryError{Entry: Quote(name), Err: err}
}

// Error names the entry and the cause.
func (e *EntryError) Error() string { return fmt.Sprintf("entry %s: %v", e.Entry, e.Err) }

// Unwrap gives the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// maxQuoted is the number of bytes of a name that are shown.
const maxQuoted = 200

// Quote gives a name of an archive for a message: quoted, and cut when it is long.
func Quote(name string) string {
	if len(name) > maxQuoted {
		return strconv.Quote(name[:maxQuoted]) + "…"
	}
	return strconv.Quote(name)
}

// ArchiveError tells what is wrong with an archive, ErrTruncated or ErrArchive, from what is wrong
// with its source: an error of the latter is returned as it is. It takes an error of package tar.
func ArchiveError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the archive is cut", ErrTruncated)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), strings.HasPrefix(err.Error(), tarErrors):
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return err
}

// tarErrors begins the texts of the errors of archive/tar, not all of which have a name.
const tarErrors = "archive/tar: "

// HeaderError is ArchiveError for an error of the next entry's header, of which the last one before
// it tells the place; "" for the first header.
func HeaderError(last string, err error) error {
	err = ArchiveError(err)
	switch {
	case !errors.Is(err, ErrArchive) && !errors.Is(err, ErrTruncated):
		return err
	case last == "":
		return fmt.Errorf("at its first entry: %w", err)
	}
	return fmt.Errorf("after the entry %s: %w", Quote(last), err)
}

// ContentError is ArchiveError for an error of the content of the entry of that name.
func ContentError(name string, err error) error {
	err = ArchiveError(err)
	var named *EntryError
	if errors.As(err, &named) || !errors.Is(err, ErrArchive) && !errors.Is(err, ErrTruncated) {
		return err
	}
	return NewEntryError(name, err)
}

// IsDamage reports whether an error says that a layer's bytes are not what they should be. Such an
// error may come from a blob that is not the right one.
func IsDamage(err error) bool {
	for _, damage := range []error{ErrCompression, ErrTruncated, ErrArchive, ErrDiffID, ErrMemory} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}
