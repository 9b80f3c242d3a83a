package blob

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxZstdWindow is the memory that a zstd frame may ask for, the same as that of the zstd
	// command.
	maxZstdWindow = 128 << 20
	// maxZstdHeader is the size of the largest frame header, its magic number included.
	maxZstdHeader = 18
)

var errZstd = errors.New("zstd: damaged structure")

// zstdGuard passes zstd data on unchanged. At each frame it asks need for the memory that the
// frame's decoder will take, before the decoder sees the frame. It follows the structure of the
// data (RFC 8878, section 3.1) without decompressing.
type zstdGuard struct {
	src      *bufio.Reader
	need     func(window, limit int64) error
	pass     int64        // bytes to pass on before next looks at what follows
	next     func() error // looks at the part that src is at, and sets pass
	checksum bool         // the frame ends with one
}

func newZstdGuard(src *bufio.Reader, need func(window, limit int64) error) *zstdGuard {
	g := &zstdGuard{src: src, need: need}
	g.next = g.frame
	return g
}

// Read passes bytes on.
func (g *zstdGuard) Read(p []byte) (int, error) {
	for g.pass == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > g.pass {
		p = p[:g.pass]
	}
	n, err := g.src.Read(p)
	g.pass -= int64(n)
	return n, noEnd(err)
}

// frame is at a frame, or at the end of the data.
func (g *zstdGuard) frame() error {
	start, err := g.src.Peek(maxZstdHeader)
	if len(start) == 0 || err != nil && err != io.EOF {
		return err
	}
	var h zstd.Header
	if err := h.Decode(start); err != nil {
		return noEnd(err)
	}
	if h.Skippable {
		g.pass = int64(h.HeaderSize) + int64(h.SkippableSize)
		return nil
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if err := g.need(int64(min(window, 1<<62)), maxZstdWindow); err != nil {
		return err
	}
	g.pass, g.next, g.checksum = int64(h.HeaderSize), g.block, h.HasCheckSum
	return nil
}

// block is at a block of a frame.
func (g *zstdGuard) block() error {
	const headerSize, checksumSize, runLength, reserved = 3, 4, 1, 3
	header, err := g.src.Peek(headerSize)
	if err != nil {
		return noEnd(err)
	}
	bits := int64(header[0]) | int64(header[1])<<8 | int64(header[2])<<16
	last, kind, size := bits&1 != 0, bits>>1&3, bits>>3
	switch kind {
	case runLength:
		size = 1
	case reserved:
		return errZstd
	}
	g.pass = headerSize + size
	if last {
		g.next = g.frame
		if g.checksum {
			g.pass += checksumSize
		}
	}
	return nil
}

// noEnd gives an end of the data its meaning in the middle of a part.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
