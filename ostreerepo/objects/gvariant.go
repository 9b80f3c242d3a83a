package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The framing of GVariant containers: the end of each member of variable size, except a tuple's
// last, is noted by an offset at the container's end. All offsets of a container have the same
// width, which follows from the container's size.

var errNotNormal = errors.New("not a GVariant in normal form")

// offsetWidth returns the width of the offsets in a container of size bytes, its offsets included.
func offsetWidth(size int) int {
	switch {
	case size <= math.MaxUint8:
		return 1
	case size <= math.MaxUint16:
		return 2
	case uint64(size) <= math.MaxUint32:
		return 4
	}
	return 8
}

// framingWidth returns the smallest width of n offsets that can address a container with body bytes
// before its offsets.
func framingWidth(body, n int) int {
	for width := 1; width < 8; width *= 2 {
		if offsetWidth(body+n*width) <= width {
			return width
		}
	}
	return 8
}

// appendOffsets ends the container that began at dst[start:]. ends are positions in dst, in the
// order in which they are stored.
func appendOffsets(dst []byte, start int, ends ...int) []byte {
	width := framingWidth(len(dst)-start, len(ends))
	for _, end := range ends {
		dst = appendOffset(dst, end-start, width)
	}
	return dst
}

func appendOffset(dst []byte, offset, width int) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(offset))
	return append(dst, b[:width]...)
}

func readOffset(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:])
}

// align returns the first multiple of alignment, a power of two, that is not below n.
func align(n, alignment int) int {
	return (n + alignment - 1) &^ (alignment - 1)
}

// appendPadding aligns the length of the container that began at dst[start:].
func appendPadding(dst []byte, start, alignment int) []byte {
	for len(dst) < start+align(len(dst)-start, alignment) {
		dst = append(dst, 0)
	}
	return dst
}

// appendString appends an s.
func appendString(dst []byte, s string) []byte {
	return append(append(dst, s...), 0)
}

// appendArray appends an array of n elements of variable size. element appends the i-th one to its
// argument.
func appendArray(dst []byte, n, alignment int, element func(dst []byte, i int) []byte) []byte {
	if n == 0 {
		return dst
	}
	start := len(dst)
	ends := make([]int, n)
	for i := range ends {
		dst = appendPadding(dst, start, alignment)
		dst = element(dst, i)
		ends[i] = len(dst)
	}
	return appendOffsets(dst, start, ends...)
}

// array reads a serialised array of elements of variable size.
type array struct {
	data      []byte // the elements
	offsets   []byte
	width     int
	alignment int
}

// newArray reads an array whose elements have at least minSize bytes each, which bounds what a
// caller allocates for them.
func newArray(b []byte, alignment, minSize int) (array, error) {
	if len(b) == 0 {
		return array{width: 1, alignment: alignment}, nil
	}
	width := offsetWidth(len(b))
	if len(b) < width {
		return array{}, errNotNormal
	}
	end := readOffset(b[len(b)-width:])
	if end > uint64(len(b)-width) || (len(b)-int(end))%width != 0 {
		return array{}, errNotNormal
	}
	a := array{data: b[:end], offsets: b[end:], width: width, alignment: alignment}
	if a.len() > len(a.data)/minSize {
		return array{}, errNotNormal
	}
	return a, nil
}

func (a array) len() int {
	return len(a.offsets) / a.width
}

// at returns the bytes of the i-th element. It fails for offsets that lead out of the array or
// back.
func (a array) at(i int) ([]byte, error) {
	var start uint64
	if i > 0 {
		start = readOffset(a.offsets[(i-1)*a.width : i*a.width])
	}
	end := readOffset(a.offsets[i*a.width : (i+1)*a.width])
	if start > uint64(len(a.data)) || end > uint64(len(a.data)) {
		return nil, errNotNormal
	}
	start = uint64(align(int(start), a.alignment))
	if start > end {
		return nil, errNotNormal
	}
	return a.data[start:end], nil
}

// tuple cuts the members off a serialised tuple, first to last. After a failure every further cut
// is empty; err says so.
type tuple struct {
	body    []byte // without the offsets
	offsets []byte // those not used yet: the last one is that of the next member of variable size
	width   int
	pos     int
	err     error
}

// newTuple reads a tuple with n members of variable size before its last member.
func newTuple(b []byte, n int) *tuple {
	width := offsetWidth(len(b))
	if len(b) < n*width {
		return &tuple{err: errNotNormal}
	}
	end := len(b) - n*width
	return &tuple{body: b[:end], offsets: b[end:], width: width}
}

func (t *tuple) cut(alignment int, end uint64) []byte {
	start := align(t.pos, alignment)
	if t.err != nil || uint64(start) > end || end > uint64(len(t.body)) {
		t.err = errNotNormal
		return nil
	}
	t.pos = int(end)
	return t.body[start:end]
}

// fixed cuts a member of size bytes.
func (t *tuple) fixed(size int) []byte {
	return t.cut(size, uint64(align(t.pos, size)+size))
}

// variable cuts a member whose end is noted by an offset.
func (t *tuple) variable(alignment int) []byte {
	if t.err != nil {
		return nil
	}
	at := len(t.offsets) - t.width
	end := readOffset(t.offsets[at:])
	t.offsets = t.offsets[:at]
	return t.cut(alignment, end)
}

// last cuts the last member, which reaches up to the offsets.
func (t *tuple) last(alignment int) []byte {
	return t.cut(alignment, uint64(len(t.body)))
}

// str cuts an s whose end is noted by an offset.
func (t *tuple) str() string {
	s, err := parseString(t.variable(1))
	if err != nil && t.err == nil {
		t.err = err
	}
	return s
}

func (t *tuple) uint32() uint32 {
	if b := t.fixed(4); t.err == nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (t *tuple) uint64() uint64 {
	if b := t.fixed(8); t.err == nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// parseChecksum reads the ay of a checksum.
func parseChecksum(b []byte) (Checksum, error) {
	if len(b) != len(Checksum{}) {
		return Checksum{}, fmt.Errorf("a checksum has %d bytes instead of %d", len(b), len(Checksum{}))
	}
	return Checksum(b), nil
}

// parseString reads an s.
func parseString(b []byte) (string, error) {
	n := len(b) - 1
	if n < 0 || bytes.IndexByte(b, 0) != n || !utf8.Valid(b) {
		return "", errNotNormal
	}
	return string(b[:n]), nil
}
