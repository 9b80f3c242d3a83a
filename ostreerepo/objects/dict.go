package objects

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// Dict is an a{sv}: a commit's metadata, or a commitmeta object.
type Dict map[string]Variant

// dictEntry is a {sv}.
type dictEntry struct {
	key   string
	value Variant
}

// Marshal returns the bytes of d with its keys sorted.
func (d Dict) Marshal() []byte {
	entries := make([]dictEntry, 0, len(d))
	for _, key := range slices.Sorted(maps.Keys(d)) {
		entries = append(entries, dictEntry{key: key, value: d[key]})
	}
	return appendDict(nil, entries)
}

// appendDict appends an a{sv}; len(dst) must be a multiple of 8.
func appendDict(dst []byte, entries []dictEntry) []byte {
	const alignment = 8 // that of a variant
	return appendArray(dst, len(entries), alignment, func(dst []byte, i int) []byte {
		start := len(dst)
		dst = appendString(dst, entries[i].key)
		end := len(dst)
		dst = appendPadding(dst, start, alignment)
		dst = entries[i].value.appendTo(dst)
		return appendOffsets(dst, start, end)
	})
}

// ParseDict reads an a{sv} with its keys in any order. It fails for a key that is there twice. The
// result is never nil when the error is nil.
func ParseDict(b []byte) (Dict, error) {
	entries, err := parseEntries(b)
	if err != nil {
		return nil, fmt.Errorf("dictionary: %w", err)
	}
	d := make(Dict, len(entries))
	for _, e := range entries {
		if _, ok := d[e.key]; ok {
			return nil, fmt.Errorf("dictionary: the key %q is there twice", e.key)
		}
		d[e.key] = e.value
	}
	return d, nil
}

func parseEntries(b []byte) ([]dictEntry, error) {
	elements, err := newArray(b, 8, 8+len("\x00b"))
	if err != nil {
		return nil, err
	}
	entries := make([]dictEntry, elements.len())
	for i := range entries {
		element, err := elements.at(i)
		if err != nil {
			return nil, err
		}
		member := newTuple(element, 1)
		entries[i].key = member.str()
		value := member.last(8)
		if member.err != nil {
			return nil, member.err
		}
		if entries[i].value, err = parseVariant(value); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(appendDict(nil, entries), b) {
		return nil, errNotNormal
	}
	return entries, nil
}
