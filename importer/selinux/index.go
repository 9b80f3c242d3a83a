package selinux

import (
	"slices"

	"golang.org/x/sys/unix"
)

// index finds the specification of a path. It is not changed once it is built.
type index struct {
	// exact holds those of single paths, the last first.
	exact map[string][]*spec
	// patterns holds the others by their key, as positions in specs in ascending order. lengths are
	// those of the keys.
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

// find gives the specification that counts for a path and a mode, nil for none, and the steps that
// this took. A mode without a file type is that of any. It fails when more steps are needed than
// are left, or when it takes too long to tell whether a specification matches.
func (x *index) find(path string, mode uint32, left int64) (found *spec, steps int64, err error) {
	if left < 0 {
		return nil, 0, errEffort
	}
	kind := mode & unix.S_IFMT
	for _, s := range x.exact[path] {
		if steps++; s.takes(kind) {
			return s, steps, nil
		}
	}
	var space [16][]int32
	lists, steps := x.candidates(path, space[:0], steps)
	sub := newSubject(path)
	for s := x.takeLast(lists); s != nil && steps <= left; s = x.takeLast(lists) {
		steps += int64(len(lists))
		if !s.takes(kind) {
			continue
		}
		matches, taken, err := s.try(sub, left-steps)
		if steps += taken; matches || err != nil {
			return s, steps, err
		}
	}
	if steps > left {
		return nil, steps, errEffort
	}
	return nil, steps, nil
}

// candidates appends the lists of the specifications whose keys begin a path, and counts the steps.
func (x *index) candidates(path string, lists [][]int32, steps int64) ([][]int32, int64) {
	const hashed = 64 // bytes of a key that are looked up in the time of a step
	for _, n := range x.lengths {
		if n > len(path) {
			break
		}
		steps += int64(1 + n/hashed)
		if list := x.patterns[path[:n]]; list != nil {
			lists = append(lists, list)
		}
	}
	return lists, steps
}

// takeLast takes the last specification of all lists off its list, and gives nil when they are
// empty.
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
