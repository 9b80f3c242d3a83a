package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Variant is a GVariant value: its type string, and its serialised bytes in little-endian order.
// The zero value is no variant. The As… methods return false for a value of another type or not in
// normal form.
type Variant struct {
	Type string
	Data []byte
}

const (
	typeString  = "s"
	typeStrings = "as"
	typeUint64  = "t"
	typeBool    = "b"
	typeCounts  = "a{su}"
)

// String returns an s. The text must be UTF-8 without NUL.
func String(s string) Variant {
	return Variant{Type: typeString, Data: appendString(nil, s)}
}

// AsString reads an s.
func (v Variant) AsString() (string, bool) {
	if v.Type != typeString {
		return "", false
	}
	s, err := parseString(v.Data)
	return s, err == nil
}

// Strings returns an as.
func Strings(ss []string) Variant {
	return Variant{Type: typeStrings, Data: appendArray(nil, len(ss), 1, func(dst []byte, i int) []byte {
		return appendString(dst, ss[i])
	})}
}

// AsStrings reads an as.
func (v Variant) AsStrings() ([]string, bool) {
	if v.Type != typeStrings {
		return nil, false
	}
	elements, err := newArray(v.Data, 1, len("\x00"))
	if err != nil {
		return nil, false
	}
	ss := make([]string, elements.len())
	for i := range ss {
		element, err := elements.at(i)
		if err != nil {
			return nil, false
		}
		if ss[i], err = parseString(element); err != nil {
			return nil, false
		}
	}
	return ss, bytes.Equal(Strings(ss).Data, v.Data)
}

// Uint64 returns a t.
func Uint64(n uint64) Variant {
	return Variant{Type: typeUint64, Data: binary.LittleEndian.AppendUint64(nil, n)}
}

// AsUint64 reads a t.
func (v Variant) AsUint64() (uint64, bool) {
	if v.Type != typeUint64 || len(v.Data) != 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(v.Data), true
}

// Bool returns a b.
func Bool(b bool) Variant {
	if b {
		return Variant{Type: typeBool, Data: []byte{1}}
	}
	return Variant{Type: typeBool, Data: []byte{0}}
}

// AsBool reads a b.
func (v Variant) AsBool() (value, ok bool) {
	if v.Type != typeBool || len(v.Data) != 1 || v.Data[0] > 1 {
		return false, false
	}
	return v.Data[0] == 1, true
}

// Counts returns an a{su} with sorted keys.
func Counts(m map[string]uint32) Variant {
	keys := slices.Sorted(maps.Keys(m))
	return Variant{Type: typeCounts, Data: appendArray(nil, len(keys), 4, func(dst []byte, i int) []byte {
		start := len(dst)
		dst = appendString(dst, keys[i])
		end := len(dst)
		dst = appendPadding(dst, start, 4)
		dst = binary.LittleEndian.AppendUint32(dst, m[keys[i]])
		return appendOffsets(dst, start, end)
	})}
}

// AsCounts reads an a{su} whose keys are sorted and differ.
func (v Variant) AsCounts() (map[string]uint32, bool) {
	if v.Type != typeCounts {
		return nil, false
	}
	elements, err := newArray(v.Data, 4, len("\x00")+4)
	if err != nil {
		return nil, false
	}
	m := make(map[string]uint32)
	for i := range elements.len() {
		element, err := elements.at(i)
		if err != nil {
			return nil, false
		}
		member := newTuple(element, 1)
		key, value := member.str(), member.fixed(4)
		if member.err != nil {
			return nil, false
		}
		m[key] = binary.LittleEndian.Uint32(value)
	}
	return m, bytes.Equal(Counts(m).Data, v.Data)
}

// appendTo appends v as a v: the data, a NUL, the type.
func (v Variant) appendTo(dst []byte) []byte {
	dst = append(append(dst, v.Data...), 0)
	return append(dst, v.Type...)
}

func parseVariant(b []byte) (Variant, error) {
	i := bytes.LastIndexByte(b, 0)
	if i < 0 {
		return Variant{}, errNotNormal
	}
	v := Variant{Type: string(b[i+1:]), Data: b[:i]}
	if rest, ok := cutType(v.Type, maxTypeDepth); !ok || rest != "" {
		return Variant{}, errors.New("a variant has no valid type")
	}
	return v, nil
}

// maxTypeDepth is how deep a type may nest. GLib allows 128 for values with all that they contain.
const maxTypeDepth = 64

const (
	basicTypes  = "bynqiuxthdsog"
	simpleTypes = basicTypes + "v"
)

// cutType removes one complete GVariant type from the beginning of s.
func cutType(s string, depth int) (rest string, ok bool) {
	if s == "" || depth == 0 {
		return "", false
	}
	first, rest := s[0], s[1:]
	switch {
	case strings.IndexByte(simpleTypes, first) >= 0:
		return rest, true
	case first == 'a' || first == 'm':
		return cutType(rest, depth-1)
	case first == '(':
		for ok = true; ok && !strings.HasPrefix(rest, ")"); {
			rest, ok = cutType(rest, depth-1)
		}
		return strings.TrimPrefix(rest, ")"), ok
	case first == '{' && rest != "" && strings.IndexByte(basicTypes, rest[0]) >= 0:
		rest, ok = cutType(rest[1:], depth-1)
		return strings.TrimPrefix(rest, "}"), ok && strings.HasPrefix(rest, "}")
	}
	return "", false
}
