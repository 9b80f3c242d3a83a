package layertar

import (
	"errors"
	"fmt"
	"strconv"
)

// The ways in which a layer is not what it should be, to be asked for with errors.Is.
var (
	ErrDigest      = errors.New("the blob has another digest")
	ErrSize        = errors.New("the blob has another size")
	ErrDiffID      = errors.New("the uncompressed layer has another diffID")
	ErrCompression = errors.New("the layer's compression is unknown or damaged")
	ErrTruncated   = errors.New("the layer ends too early")
	ErrArchive     = errors.New("the layer is not a valid tar archive")

	// ErrUnsupportedEntry is that of a device or fifo, which Options.DropSpecialFiles would leave out.
	ErrUnsupportedEntry = errors.New("OSTree can't hold such a file")
)

// EntryError is an entry that can't be imported.
type EntryError struct {
	Entry string // the name in the archive, quoted and capped
	Err   error
}

// Error names the entry and the cause.
func (e *EntryError) Error() string { return fmt.Sprintf("entry %s: %v", e.Entry, e.Err) }

// Unwrap gives the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// maxQuoted is the number of bytes of a name that are shown.
const maxQuoted = 200

func quote(name string) string {
	if len(name) > maxQuoted {
		return strconv.Quote(name[:maxQuoted]) + "…"
	}
	return strconv.Quote(name)
}

func entryError(name string, err error) error {
	return &EntryError{Entry: quote(name), Err: err}
}
