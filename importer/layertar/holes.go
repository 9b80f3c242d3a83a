package layertar

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ostree-importd/ostree-importd/importer/blob"
)

// maxHoles is the size, in bytes, of the holes that the sparse files of a layer may have together.
// A few bytes of an archive say how large a hole is, but all its zeros are part of the checksum.
const maxHoles = 4 << 30

// maxImageHoles is the size, in bytes, of the holes that all layers of an image may have together:
// to hash as many takes about a quarter of a minute.
const maxImageHoles = 16 << 30

// Holes counts the holes of an image whose layers are read by several goroutines. The zero value is
// ready for use.
type Holes struct{ total atomic.Int64 }

// countingReader counts what is read of an archive, and remembers the size that the last header of
// an entry gives for what the archive holds of its content. Package tar tells the size of the file
// only.
type countingReader struct {
	r      io.Reader
	n      int64
	block  [blockSize]byte // what has been read of a block that is not complete
	stored int64           // the size in the last header; -1 for one that is not octal
}

// The parts of a header block that are looked at, as in POSIX ustar.
const (
	blockSize = 512
	sizeAt    = 124
	sizeEnd   = sizeAt + 12
	magicAt   = 257
	magic     = "ustar"
)

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		at := int(c.n % blockSize)
		some := min(len(rest), blockSize-at)
		block := rest[:some]
		if some < blockSize {
			copy(c.block[at:], block)
			block = c.block[:at+some]
		}
		if len(block) == blockSize && bytes.HasPrefix(block[magicAt:], []byte(magic)) {
			c.header(block)
		}
		c.n += int64(some)
		rest = rest[some:]
	}
	return n, err
}

// header reads the size in a block that looks like a header. Where it is none, it is the content of
// an entry, which the header of the next one follows.
func (c *countingReader) header(block []byte) {
	c.stored = -1
	text := strings.Trim(string(block[sizeAt:sizeEnd]), " \x00")
	if size, err := strconv.ParseInt(text, 8, 64); err == nil {
		c.stored = size
	}
}

// holes counts the bytes of files that the archive doesn't hold.
type holes struct {
	archive *countingReader
	total   int64  // in this layer
	image   *Holes // in all layers; nil for none
}

// giveBack forgets the holes of a layer whose import has failed: it may be tried again.
func (h *holes) giveBack() {
	if h.image != nil {
		h.image.total.Add(-h.total)
	}
}

// add counts holes. It returns errHoles or errImageHoles for too many.
func (h *holes) add(n int64) error {
	h.total += n
	if h.image != nil && h.image.total.Add(n) > maxImageHoles {
		return errImageHoles
	}
	if h.total > maxHoles {
		return errHoles
	}
	return nil
}

// expect refuses an entry, before its content is read, whose headers say that it has larger holes
// than a layer may have.
func (h *holes) expect(header *tar.Header) error {
	stored := h.archive.stored
	if stored < 0 || !isSparse(header) || header.PAXRecords["size"] != "" {
		return nil // the content tells
	}
	switch {
	case header.Size-stored > maxHoles-h.total:
		return errHoles
	case h.image != nil && header.Size-stored > maxImageHoles-h.image.total.Load():
		return errImageHoles
	}
	return nil
}

// isSparse reports whether an archive can hold less of a file than its size.
func isSparse(header *tar.Header) bool {
	if header.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

var (
	errHoles      = fmt.Errorf("the holes of the layer's sparse files are larger than %d GiB together", maxHoles>>30)
	errImageHoles = fmt.Errorf(
		"the holes of the sparse files in all layers are larger than %d GiB together", maxImageHoles>>30)
)

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
	if err := h.add(max(0, int64(n)-(h.archive.n-before))); err != nil {
		return 0, blob.NewEntryError(h.entry, err)
	}
	return n, err
}
