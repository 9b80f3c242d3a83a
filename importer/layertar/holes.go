package layertar

import (
	"fmt"
	"io"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// maxHoles is the size, in bytes, of the holes that the sparse files of a layer may have together.
// A few bytes of an archive say how large a hole is, but all its zeros are part of the checksum.
const maxHoles = 4 << 30

// countingReader counts what is read of an archive.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// holes counts the bytes of files that the archive doesn't hold.
type holes struct {
	archive *countingReader
	total   int64
}

// holesReader reads the content of one entry.
type holesReader struct {
	*holes
	entry string
	r     io.Reader
}

func (h *holesReader) Read(p []byte) (int, error) {
	before := h.archive.n
	n, err := h.r.Read(p)
	// What is read of the archive is the entry's own data, and padding now and then.
	if h.total += max(0, int64(n)-(h.archive.n-before)); h.total > maxHoles {
		return 0, blob.NewEntryError(h.entry, fmt.Errorf("the holes of the layer's sparse files are larger than %d GiB together", maxHoles>>30))
	}
	return n, err
}
