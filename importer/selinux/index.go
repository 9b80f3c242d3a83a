package selinux

import (
	"slices"

	"golang.org/x/sys/unix"
)

// index finds the specification of a path. It is not changed once it is built.
type index struct {
	// exact holds those of single paths, the last first.
	exact map[string][]*spec
	// patterns holds the others by their key, as positions in specs in ascending order. lengths are those of the keys.
	patterns map[string][]int32
	lengths  []int
	specs    []*spec
}

func newIndex(specs []*spec) *index {
	x := &index{exact: map[string][]*spec{}, patterns: map[string][]int32{}, specs: specs}
	for i, s := range specs {
		if s.pattern == "" {
			x.exact[s.path] = append(x.exact[s.path], s)
			continue
		}
		if _, known := x.patterns[s.key]; !known && !slices.Contains(x.lengths, len(s.key)) {
			x.lengths = append(x.lengths, len(s.key))
		}
		x.patterns[s.key] = append(x.patterns[s.key], int32(i))
	}
	for _, list := range x.exact {
		slices.Reverse(list) // the last one counts
	}
	slices.Sort(x.lengths)
	return x
}

// find gives the specification that counts for a path and a mode, nil for none. A mode without a file type is that of any. An error is
// that of a specification which may or may not match; it counts as not matching.
func (x *index) find(path string, mode uint32) (found *spec, err error) {
	kind := mode & unix.S_IFMT
	for _, s := range x.exact[path] {
		if s.takes(kind) {
			return s, nil
		}
	}
	var space [16][]int32
	lists := space[:0]
	for _, n := range x.lengths {
		if n > len(path) {
			break
		}
		if list := x.patterns[path[:n]]; list != nil {
			lists = append(lists, list)
		}
	}
	sub := newSubject(path)
	for {
		s := x.takeLast(lists)
		if s == nil {
			return nil, err
		}
		if !s.takes(kind) {
			continue
		}
		matches, failed := s.matches(sub)
		if matches {
			return s, err
		}
		if failed != nil {
			err = failed
		}
	}
}

// takeLast takes the last specification of all lists off its list, and gives nil when they are empty.
func (x *index) takeLast(lists [][]int32) *spec {
	last, from := int32(-1), 0
	for i, list := range lists {
		if n := len(list); n > 0 && list[n-1] > last {
			last, from = list[n-1], i
		}
	}
	if last < 0 {
		return nil
	}
	lists[from] = lists[from][:len(lists[from])-1]
	return x.specs[last]
}

// takes tells whether the specification is for a file type.
func (s *spec) takes(kind uint32) bool { return kind == 0 || s.kind == 0 || s.kind == kind }
