package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The tags that are read, and their types, of rpm's rpmtag.h.
const (
	tagName          = 1000
	tagBuildTime     = 1006
	tagOldFileNames  = 1027
	tagChangelogTime = 1080
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118

	typeInt32       = 4
	typeString      = 6
	typeStringArray = 8
)

const (
	// prefixSize is the size of the two counts that a header begins with, in bytes.
	prefixSize = 8
	// entrySize is the size of an index entry: tag, type, offset and count.
	entrySize = 16
	// maxTags is the number of index entries that rpm itself takes.
	maxTags = 0xffff
)

// Header is what is read of a package's header.
type Header struct {
	name       string
	buildTime  uint32 // in seconds
	changes    []uint32
	oldFiles   []string // of packages that rpm 3 has made: whole paths
	baseNames  []string
	dirNames   []string
	dirIndexes []uint32
}

var errHeader = errors.New("malformed package header")

// ParseHeader reads a header as a database holds it, without the magic number of a package file. Of
// a tag that is there twice the last one counts: rpm appends what changed since the package was
// built.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < prefixSize {
		return h, fmt.Errorf("%w: %d bytes", errHeader, len(b))
	}
	tags, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if tags == 0 || tags > maxTags || prefixSize+tags*entrySize+size > uint64(len(b)) {
		return h, fmt.Errorf("%w: %d tags and %d bytes of data in %d bytes", errHeader, tags, size, len(b))
	}
	index, data := b[prefixSize:prefixSize+tags*entrySize], b[prefixSize+tags*entrySize:][:size]
	for ; len(index) > 0; index = index[entrySize:] {
		e := entry{
			tag: binary.BigEndian.Uint32(index), kind: binary.BigEndian.Uint32(index[4:]),
			offset: binary.BigEndian.Uint32(index[8:]), count: binary.BigEndian.Uint32(index[12:]),
		}
		if err := h.set(e, data); err != nil {
			return h, fmt.Errorf("%w: tag %d: %w", errHeader, e.tag, err)
		}
	}
	if h.name == "" {
		return h, fmt.Errorf("%w: no name", errHeader)
	}
	return h, nil
}

// entry is an index entry of a header.
type entry struct{ tag, kind, offset, count uint32 }

func (h *Header) set(e entry, data []byte) (err error) {
	switch e.tag {
	case tagName:
		var names []string
		if names, err = e.strings(data, typeString); err == nil && len(names) == 1 {
			h.name = names[0]
		}
	case tagBuildTime:
		var times []uint32
		if times, err = e.numbers(data); err == nil && len(times) > 0 {
			h.buildTime = times[0]
		}
	case tagChangelogTime:
		h.changes, err = e.numbers(data)
	case tagOldFileNames:
		h.oldFiles, err = e.strings(data, typeStringArray)
	case tagBaseNames:
		h.baseNames, err = e.strings(data, typeStringArray)
	case tagDirNames:
		h.dirNames, err = e.strings(data, typeStringArray)
	case tagDirIndexes:
		h.dirIndexes, err = e.numbers(data)
	}
	return err
}

// numbers reads an array of 32 bit numbers.
func (e entry) numbers(data []byte) ([]uint32, error) {
	if e.kind != typeInt32 || uint64(e.offset)+4*uint64(e.count) > uint64(len(data)) {
		return nil, fmt.Errorf("%d numbers of type %d at %d", e.count, e.kind, e.offset)
	}
	numbers := make([]uint32, e.count)
	for i := range numbers {
		numbers[i] = binary.BigEndian.Uint32(data[int(e.offset)+4*i:])
	}
	return numbers, nil
}

// strings reads an array of strings that each end with NUL.
func (e entry) strings(data []byte, kind uint32) ([]string, error) {
	if e.kind != kind || uint64(e.offset)+uint64(e.count) > uint64(len(data)) {
		return nil, fmt.Errorf("%d strings of type %d at %d", e.count, e.kind, e.offset)
	}
	rest := string(data[e.offset:])
	all := make([]string, e.count)
	for i := range all {
		var ended bool
		if all[i], rest, ended = strings.Cut(rest, "\x00"); !ended {
			return nil, fmt.Errorf("string %d of %d does not end", i+1, e.count)
		}
	}
	return all, nil
}

// files calls do with the path of each file of the package.
func (h Header) files(do func(path string) error) error {
	if len(h.dirIndexes) != len(h.baseNames) {
		return fmt.Errorf("%w: package %q has %d files in %d directories", errHeader, h.name, len(h.baseNames), len(h.dirIndexes))
	}
	for _, path := range h.oldFiles {
		if err := do(path); err != nil {
			return err
		}
	}
	for i, name := range h.baseNames {
		if h.dirIndexes[i] >= uint32(len(h.dirNames)) {
			return fmt.Errorf("%w: package %q has no directory %d", errHeader, h.name, h.dirIndexes[i])
		}
		if err := do(h.dirNames[h.dirIndexes[i]] + name); err != nil {
			return err
		}
	}
	return nil
}
