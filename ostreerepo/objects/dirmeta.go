package objects

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The file types that OSTree knows, as in st_mode.
const (
	modeType      = 0o170000
	modeDirectory = 0o040000
	modeRegular   = 0o100000
	modeSymlink   = 0o120000
	modeBits      = 0o7777 // permissions, set-uid, set-gid, sticky
)

// DirMeta is a dirmeta object: what a directory has beside its entries. Mode includes S_IFDIR.
type DirMeta struct {
	UID, GID, Mode uint32
	Xattrs         Xattrs
}

// Marshal returns the object's bytes.
func (m DirMeta) Marshal() []byte {
	return appendMeta(nil, m.UID, m.GID, m.Mode, m.Xattrs)
}

// ParseDirMeta is the inverse of Marshal. It fails for a mode that is not a directory's.
func ParseDirMeta(b []byte) (DirMeta, error) {
	m, err := parseMeta(b)
	if err != nil {
		return DirMeta{}, fmt.Errorf("dirmeta: %w", err)
	}
	if err := checkMode(m.Mode, modeDirectory); err != nil {
		return DirMeta{}, fmt.Errorf("dirmeta: %w", err)
	}
	return m, nil
}

// appendMeta appends a (uuua(ayay)), which is a dirmeta and also the attribute that holds a
// bare-user file's metadata.
func appendMeta(dst []byte, uid, gid, mode uint32, xattrs Xattrs) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uid)
	dst = binary.BigEndian.AppendUint32(dst, gid)
	dst = binary.BigEndian.AppendUint32(dst, mode)
	return xattrs.appendTo(dst)
}

// parseMeta reads a (uuua(ayay)) whose mode may be any.
func parseMeta(b []byte) (DirMeta, error) {
	member := newTuple(b, 0)
	m := DirMeta{UID: member.uint32(), GID: member.uint32(), Mode: member.uint32()}
	rest := member.last(1)
	if member.err != nil {
		return DirMeta{}, member.err
	}
	var err error
	if m.Xattrs, err = parseXattrs(rest); err != nil {
		return DirMeta{}, err
	}
	if !bytes.Equal(m.Marshal(), b) {
		return DirMeta{}, errNotNormal
	}
	return m, nil
}

// checkMode returns nil if mode is of one of the given file types and has no unknown bits.
func checkMode(mode uint32, types ...uint32) error {
	for _, t := range types {
		if mode&modeType == t && mode&^(modeType|modeBits) == 0 {
			return nil
		}
	}
	return fmt.Errorf("mode %#o has a file type that does not belong here", mode)
}
