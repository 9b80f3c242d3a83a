package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxTarget is the longest symlink target that Linux holds, in bytes.
const maxTarget = 4095

// FileHeader is what a content object has beside its content. Mode includes S_IFREG or S_IFLNK.
// Target is the symlink's target, and empty for a regular file.
type FileHeader struct {
	UID, GID, Mode uint32
	Target         string
	Xattrs         Xattrs
}

// IsSymlink reports whether the header is a symlink's.
func (h FileHeader) IsSymlink() bool {
	return h.Mode&modeType == modeSymlink
}

// Valid returns nil if an object can have this header, and otherwise an error that says why not.
func (h FileHeader) Valid() error {
	if err := checkMode(h.Mode, modeRegular, modeSymlink); err != nil {
		return err
	}
	switch {
	case !h.IsSymlink() && h.Target != "":
		return errors.New("a regular file has a symlink target")
	case h.IsSymlink() && h.Target == "":
		return errors.New("the target of a symlink is empty")
	case len(h.Target) > maxTarget:
		return fmt.Errorf("the target of a symlink is %d bytes long, more than %d", len(h.Target), maxTarget)
	case !utf8.ValidString(h.Target) || strings.IndexByte(h.Target, 0) >= 0:
		return fmt.Errorf("the symlink target %q is not UTF-8 without NUL, which OSTree requires", h.Target)
	}
	return h.Xattrs.Valid()
}

// framedAt is where the header begins in its frame.
const framedAt = 8

// appendFramed appends a header as it stands before content: its size as a big-endian u32, four
// zero bytes, the header.
func appendFramed(dst []byte, appendHeader func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, framedAt)...)
	dst = appendHeader(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-framedAt))
	return dst
}

// ChecksumPrefix returns what is hashed before the content to give a content object's checksum. A
// symlink has no content.
func (h FileHeader) ChecksumPrefix() []byte {
	return appendFramed(nil, h.appendTo)
}

// appendTo appends h as a (uuuusa(ayay)).
func (h FileHeader) appendTo(dst []byte) []byte {
	return h.appendMembers(dst, len(dst))
}

// appendMembers appends the members from uid to the end, and then the offsets of the tuple that
// began at dst[start:].
func (h FileHeader) appendMembers(dst []byte, start int) []byte {
	const rdev = 0 // OSTree has no device nodes
	for _, v := range [...]uint32{h.UID, h.GID, h.Mode, rdev} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	dst = appendString(dst, h.Target)
	end := len(dst)
	dst = h.Xattrs.appendTo(dst)
	return appendOffsets(dst, start, end)
}

// ArchivePrefix returns what stands before the deflated content in an archive repository's file.
// size is that of the content before compression, in bytes.
func (h FileHeader) ArchivePrefix(size uint64) []byte {
	return appendFramed(nil, func(dst []byte) []byte {
		start := len(dst)
		dst = binary.BigEndian.AppendUint64(dst, size)
		return h.appendMembers(dst, start)
	})
}

// ArchiveHeaderSize returns the size of the header that follows the first eight bytes of an archive
// repository's file.
func ArchiveHeaderSize(frame [framedAt]byte) (uint32, error) {
	if [4]byte(frame[4:]) != [4]byte{} {
		return 0, errors.New("filez header: the padding is not zero")
	}
	return binary.BigEndian.Uint32(frame[:]), nil
}

// ParseArchiveHeader reads the header of an archive repository's file, without the eight bytes
// before it. size is that of the content before compression, in bytes.
func ParseArchiveHeader(b []byte) (h FileHeader, size uint64, err error) {
	member := newTuple(b, 1)
	size = member.uint64()
	h = FileHeader{UID: member.uint32(), GID: member.uint32(), Mode: member.uint32()}
	rdev := member.uint32()
	h.Target = member.str()
	rest := member.last(1)
	if member.err != nil {
		return FileHeader{}, 0, fmt.Errorf("filez header: %w", member.err)
	}
	if h.Xattrs, err = parseXattrs(rest); err != nil {
		return FileHeader{}, 0, fmt.Errorf("filez header: %w", err)
	}
	if err := h.Valid(); err != nil {
		return FileHeader{}, 0, fmt.Errorf("filez header: %w", err)
	}
	if rdev != 0 || !bytes.Equal(h.ArchivePrefix(size)[framedAt:], b) {
		return FileHeader{}, 0, fmt.Errorf("filez header: %w", errNotNormal)
	}
	return h, size, nil
}

// BareUserMeta returns the value of the attribute user.ostreemeta, which holds a bare-user file's
// metadata except for a symlink's target.
func (h FileHeader) BareUserMeta() []byte {
	return appendMeta(nil, h.UID, h.GID, h.Mode, h.Xattrs)
}

// ParseBareUserMeta is the inverse of BareUserMeta. The Target of a symlink is missing in what it
// returns.
func ParseBareUserMeta(b []byte) (FileHeader, error) {
	m, err := parseMeta(b)
	if err != nil {
		return FileHeader{}, fmt.Errorf("user.ostreemeta: %w", err)
	}
	if err := checkMode(m.Mode, modeRegular, modeSymlink); err != nil {
		return FileHeader{}, fmt.Errorf("user.ostreemeta: %w", err)
	}
	return FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}, nil
}
