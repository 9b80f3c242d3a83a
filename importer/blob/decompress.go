package blob

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

const (
	tarBlock = 512
	// inputBuffer is the size of the buffer before a decoder.
	inputBuffer = 64 << 10
	// decoderMemory is what a decoder takes beside its window: zstd's has buffers for output and
	// for a block.
	decoderMemory = 2 << 20
)

// decompressor reads what its source, which is compressed in one of the known ways or not at all,
// holds uncompressed. The first Read finds out the way. All members, frames and streams that follow
// each other are read.
type decompressor struct {
	src     *bufio.Reader
	memory  *budget.Share
	decoder io.Reader // nil before the first Read
	window  int64     // the largest that was taken from memory
	refused error     // why a window could not be taken
}

func newDecompressor(src io.Reader, memory *budget.Share) *decompressor {
	return &decompressor{src: bufio.NewReaderSize(src, inputBuffer), memory: memory}
}

// Read fails with ErrTruncated for compressed data that ends too early, with ErrCompression for
// data that is damaged, and with ErrMemory or an error of the memory for a window that can't be
// had. The source's own errors are in the chain.
func (d *decompressor) Read(p []byte) (n int, err error) {
	if d.decoder == nil {
		d.decoder, err = d.open()
	}
	if err == nil {
		n, err = d.decoder.Read(p)
	}
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case d.refused != nil: // whatever the decoder has made of it
		return n, d.refused
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%w: its compressed data is cut", ErrTruncated)
	}
	return n, fmt.Errorf("%w: %w", ErrCompression, err)
}

// need takes the memory for a window that the next frame or block has, if it is larger than those
// before.
func (d *decompressor) need(window, limit int64) error {
	if d.refused == nil && window > limit {
		d.refused = fmt.Errorf("%w: a window of %d MiB, where at most %d MiB are allowed", ErrMemory, (window+1<<20-1)>>20, limit>>20)
	}
	if d.refused == nil && window > d.window {
		more := window - d.window
		if d.window == 0 {
			more += decoderMemory
		}
		d.refused = d.memory.Take(more)
		if errors.Is(d.refused, budget.ErrLimit) {
			d.refused = fmt.Errorf("%w: %w", ErrMemory, d.refused)
		}
		d.window = window
	}
	return d.refused
}

func (d *decompressor) open() (io.Reader, error) {
	src := d.src
	start, err := src.Peek(tarBlock)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzip.NewReader(src)
	case isZstd(start):
		// One frame after the other in the caller's goroutine: the stages around are concurrent
		// enough, and it takes less memory.
		return zstd.NewReader(newZstdGuard(src, d.need), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
	case bytes.HasPrefix(start, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		// The decoder takes at least DictCap, so that is the smallest there is: each block has its
		// own.
		return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(newXZGuard(src, d.need))
	case len(start) == 0 || isTar(start):
		return src, nil
	}
	return nil, fmt.Errorf("it starts with % x, which is neither gzip, zstd, xz nor tar", start[:min(6, len(start))])
}

// isZstd recognises a frame, and a skippable frame, which may come before it.
func isZstd(start []byte) bool {
	return bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(start) >= 4 && start[0]&0xf0 == 0x50 && bytes.Equal(start[1:4], []byte{0x2a, 0x4d, 0x18})
}

// isTar reports whether a block can be the first of an archive: a header, or the zeros that end an
// empty archive.
func isTar(block []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(block)).Next()
	return err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && len(block) == tarBlock
}
