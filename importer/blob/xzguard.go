package blob

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxXZDictionary is the memory that an xz block may ask for: that of `xz -9`.
const maxXZDictionary = 64 << 20

var errXZ = errors.New("xz: damaged structure")

// xzGuard passes an xz file on unchanged. At each block it asks need for the memory of the block's
// dictionary, before the decoder sees the block: the decoder takes whatever a block asks for, and
// the format permits 4 GiB. It follows the structure of the file (xz file format 1.2.1, LZMA2
// chunks as in lzma2_decoder of XZ Utils) without decompressing, so that it finds the header of
// every block.
type xzGuard struct {
	src   *bufio.Reader
	need  func(window, limit int64) error
	pass  int64        // bytes to pass on before next looks at what follows
	next  func() error // looks at the part that src is at, and sets pass
	check int64        // size of the check that follows a block
	part  int64        // bytes of the block or index so far, to find its padding
	left  uint64       // numbers that the index has yet
}

func newXZGuard(src *bufio.Reader, need func(window, limit int64) error) *xzGuard {
	g := &xzGuard{src: src, need: need}
	g.next = g.streamHeader
	return g
}

// Read passes bytes on.
func (g *xzGuard) Read(p []byte) (int, error) {
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
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// then passes n bytes on and looks at what follows with next.
func (g *xzGuard) then(n int64, next func() error) {
	g.pass, g.part, g.next = n, g.part+n, next
}

// peek looks at n bytes that must be there.
func (g *xzGuard) peek(n int) ([]byte, error) {
	b, err := g.src.Peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// streamHeader is at a stream, at padding between streams, or at the end of the file.
func (g *xzGuard) streamHeader() error {
	start, err := g.src.Peek(4)
	if err == io.EOF && len(start) == 0 {
		return io.EOF
	}
	if err == nil && [4]byte(start) == [4]byte{} {
		g.then(4, g.streamHeader)
		return nil
	}
	header, err := g.peek(12)
	if err != nil {
		return err
	}
	g.check = 0
	if kind := header[7] & 0x0f; kind > 0 {
		g.check = 4 << ((kind - 1) / 3)
	}
	g.then(12, g.blockOrIndex)
	return nil
}

func (g *xzGuard) blockOrIndex() error {
	start, err := g.peek(1)
	if err != nil {
		return err
	}
	g.part = 0
	if start[0] == 0 {
		g.then(1, g.indexCount)
		return nil
	}
	size := (int(start[0]) + 1) * 4
	header, err := g.peek(size)
	if err != nil {
		return err
	}
	if err := g.checkBlock(header); err != nil {
		return err
	}
	g.then(int64(size), g.chunk)
	return nil
}

// checkBlock looks through the filters of a block header.
func (g *xzGuard) checkBlock(header []byte) error {
	flags, fields := header[1], xzFields(header[2:])
	for _, sizeGiven := range []byte{0x40, 0x80} {
		if flags&sizeGiven == 0 {
			continue
		}
		if _, err := fields.number(); err != nil {
			return err
		}
	}
	for range flags&3 + 1 {
		if err := g.checkFilter(&fields); err != nil {
			return err
		}
	}
	return nil
}

// checkFilter takes a filter's flags off the fields of a block header. It has to be LZMA2, with a
// dictionary that is allowed.
func (g *xzGuard) checkFilter(fields *xzFields) error {
	id, err := fields.number()
	if err != nil {
		return err
	}
	size, err := fields.number()
	if err != nil || size > uint64(len(*fields)) {
		return errXZ
	}
	const lzma2 = 0x21
	if id != lzma2 {
		return fmt.Errorf("xz: filter %#x is not supported", id)
	}
	if size != 1 || (*fields)[0] > 40 {
		return errXZ
	}
	bits := (*fields)[0]
	*fields = (*fields)[size:]
	return g.need(int64(2|bits&1)<<(bits/2+11), maxXZDictionary)
}

// xzFields are the fields of a block header that have not been read yet.
type xzFields []byte

// number takes a number off the fields.
func (f *xzFields) number() (uint64, error) {
	n, length := xzNumber(*f)
	if length == 0 {
		return 0, errXZ
	}
	*f = (*f)[length:]
	return n, nil
}

// chunk is at an LZMA2 chunk or at the end of a block's chunks.
func (g *xzGuard) chunk() error {
	start, err := g.peek(1)
	if err != nil {
		return err
	}
	switch control := start[0]; {
	case control == 0:
		g.then(1, func() error {
			g.then(-g.part&3+g.check, g.blockOrIndex)
			return nil
		})
	case control <= 2:
		return g.sizedChunk(3, 1)
	case control < 0x80:
		return errXZ
	case control < 0xc0:
		return g.sizedChunk(5, 3)
	default:
		return g.sizedChunk(6, 3)
	}
	return nil
}

// sizedChunk passes on a chunk of which the header has the length header and, at the offset at, the
// size of the rest less 1.
func (g *xzGuard) sizedChunk(header, at int) error {
	b, err := g.peek(header)
	if err != nil {
		return err
	}
	g.then(int64(header)+int64(b[at])<<8+int64(b[at+1])+1, g.chunk)
	return nil
}

// indexCount is at the number of an index's records, of two numbers each.
func (g *xzGuard) indexCount() error {
	n, err := g.indexNumber()
	if err != nil || n > 1<<60 {
		return errors.Join(errXZ, err)
	}
	g.left = 2 * n
	g.next = g.indexRecord
	return nil
}

func (g *xzGuard) indexRecord() error {
	if g.left > 0 {
		g.left--
		_, err := g.indexNumber()
		return err
	}
	const crc, footer = 4, 12
	g.then(-g.part&3+crc+footer, g.streamHeader)
	return nil
}

// indexNumber reads a number and passes it on; what looks at the next part stays.
func (g *xzGuard) indexNumber() (uint64, error) {
	b, err := g.src.Peek(9)
	if err != nil && err != io.EOF {
		return 0, err
	}
	n, length := xzNumber(b)
	if length == 0 {
		return 0, errXZ
	}
	g.then(int64(length), g.next)
	return n, nil
}

// xzNumber decodes a variable-length number of at most nine bytes; its length is 0 when there is
// none.
func xzNumber(b []byte) (n uint64, length int) {
	for i := range min(len(b), 9) {
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return n, i + 1
		}
	}
	return 0, 0
}
