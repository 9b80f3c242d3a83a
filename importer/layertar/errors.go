package layertar

import (
	"errors"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// The ways in which a layer is not what it should be, to be asked for with errors.Is: those of
// package blob, and one more.
var (
	ErrDigest      = blob.ErrDigest
	ErrSize        = blob.ErrSize
	ErrDiffID      = blob.ErrDiffID
	ErrCompression = blob.ErrCompression
	ErrTruncated   = blob.ErrTruncated
	ErrArchive     = blob.ErrArchive

	// ErrUnsupportedEntry is that of a device or fifo, which Options.DropSpecialFiles would leave
	// out.
	ErrUnsupportedEntry = errors.New("OSTree can't hold such a file")
)

// EntryError is an entry that can't be imported.
type EntryError = blob.EntryError
