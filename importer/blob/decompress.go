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
)

// maxZstdWindow is the memory that a zstd frame may ask for, the same as that of the zstd command.
const maxZstdWindow = 128 << 20

const tarBlock = 512

// decompressor reads what its source, which is compressed in one of the known ways or not at all, holds uncompressed. The first
// Read finds out the way. All members, frames and streams that follow each other are read.
type decompressor struct {
	src     *bufio.Reader
	decoder io.Reader // nil before the first Read
}

func newDecompressor(src io.Reader) *decompressor {
	return &decompressor{src: bufio.NewReaderSize(src, 64<<10)}
}

// Read fails with ErrTruncated for compressed data that ends too early and with ErrCompression for data that is damaged. The
// source's own errors are in the chain.
func (d *decompressor) Read(p []byte) (int, error) {
	if d.decoder == nil {
		decoder, err := openDecoder(d.src)
		if err != nil {
			return 0, compressionError(err)
		}
		d.decoder = decoder
	}
	n, err := d.decoder.Read(p)
	if err != nil && err != io.EOF {
		err = compressionError(err)
	}
	return n, err
}

func compressionError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: its compressed data is cut", ErrTruncated)
	}
	return fmt.Errorf("%w: %w", ErrCompression, err)
}

func openDecoder(src *bufio.Reader) (io.Reader, error) {
	start, err := src.Peek(tarBlock)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzip.NewReader(src)
	case isZstd(start):
		// One frame after the other in the caller's goroutine: the stages around are concurrent enough, and it takes less memory.
		return zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
	case bytes.HasPrefix(start, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xz.NewReader(newXZGuard(src))
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

// isTar reports whether a block can be the first of an archive: a header, or the zeros that end an empty archive.
func isTar(block []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(block)).Next()
	return err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && len(block) == tarBlock
}
