package objects

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Xattr is an extended attribute. Name has no terminating NUL.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs are the extended attributes of a file or directory. Marshal keeps their order, which is
// part of the checksum; only those in the order of Canonical are right for a new object.
type Xattrs []Xattr

// Canonical returns a copy sorted by name, as libostree wants it. Of several with one name the last
// stays. Attributes with an empty value go: libostree passes over them when it reads a file, so
// that an object which has one would seem corrupted in a bare repository. The result for no
// attributes is nil.
func (x Xattrs) Canonical() Xattrs {
	if len(x) == 0 {
		return nil
	}
	sorted := slices.Clone(x)
	slices.SortStableFunc(sorted, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	kept := sorted[:0]
	for i, attr := range sorted {
		last := i+1 == len(sorted) || sorted[i+1].Name != attr.Name
		if last && len(attr.Value) > 0 {
			kept = append(kept, attr)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// Valid returns nil if every attribute can be in an object: names are neither empty nor contain a
// NUL.
func (x Xattrs) Valid() error {
	for _, attr := range x {
		if attr.Name == "" {
			return errors.New("the name of an extended attribute is empty")
		}
		if strings.IndexByte(attr.Name, 0) >= 0 {
			return fmt.Errorf("the name %q of an extended attribute contains a NUL", attr.Name)
		}
	}
	return nil
}

// Marshal returns x as an a(ayay), which is how an encapsulated commit carries a file's extended
// attributes. It neither sorts nor checks.
func (x Xattrs) Marshal() []byte {
	return x.appendTo(nil)
}

// ParseXattrs is the inverse of Marshal. The order is kept, whatever it is.
func ParseXattrs(b []byte) (Xattrs, error) {
	x, err := parseXattrs(b)
	if err == nil && !bytes.Equal(x.Marshal(), b) {
		err = errNotNormal
	}
	if err != nil {
		return nil, fmt.Errorf("extended attributes: %w", err)
	}
	return x, nil
}

// appendTo appends x as an a(ayay), whose names end with a NUL.
func (x Xattrs) appendTo(dst []byte) []byte {
	return appendArray(dst, len(x), 1, func(dst []byte, i int) []byte {
		start := len(dst)
		dst = appendString(dst, x[i].Name)
		end := len(dst)
		dst = append(dst, x[i].Value...)
		return appendOffsets(dst, start, end)
	})
}

func parseXattrs(b []byte) (Xattrs, error) {
	elements, err := newArray(b, 1, len("n\x00")+1)
	if err != nil || elements.len() == 0 {
		return nil, err
	}
	xattrs := make(Xattrs, elements.len())
	for i := range xattrs {
		element, err := elements.at(i)
		if err != nil {
			return nil, err
		}
		member := newTuple(element, 1)
		name, value := member.variable(1), member.last(1)
		if member.err != nil {
			return nil, member.err
		}
		// An ay, not an s: the name need not be UTF-8.
		end := len(name) - 1
		if end <= 0 || bytes.IndexByte(name, 0) != end {
			return nil, errors.New("the name of an extended attribute is not a C string")
		}
		xattrs[i] = Xattr{Name: string(name[:end]), Value: value}
	}
	return xattrs, nil
}
