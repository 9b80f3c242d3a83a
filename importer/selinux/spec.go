package selinux

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/selinux/pcre"
)

// spec is a specification: which paths get a label.
type spec struct {
	label *label // nil: <<none>>
	kind  uint32 // S_IFMT bits of the mode, 0 for all
	where string // file and line, for messages

	// One path, for a specification without operators.
	path string

	// A regular expression otherwise.
	pattern string
	key     string // begins each path that matches: prefix, or the stem where that is longer
	prefix  string // begins each path that the expression itself matches
	need    string // is in each such path, after the prefix
	form    form   // how the rest of it is matched
	weight  int64  // of the expression
	linear  func() (*regexp.Regexp, error)
	general func() (*regexp2.Regexp, error)
}

// form is how a specification matches what follows its prefix.
type form uint8

const (
	formGeneral  form = iota // by backtracking
	formLinear               // in linear time
	formAny                  // .*
	formSubtree              // (/.*)?
	formBelow                // .+
	formSiblings             // [^/]*
)

var formsOfRest = map[string]form{".*": formAny, "(/.*)?": formSubtree, ".+": formBelow, "[^/]*": formSiblings}

var fileKinds = map[string]uint32{
	"-b": unix.S_IFBLK, "-c": unix.S_IFCHR, "-d": unix.S_IFDIR, "-p": unix.S_IFIFO, "-l": unix.S_IFLNK, "-s": unix.S_IFSOCK, "--": unix.S_IFREG,
}

// setPattern makes the specification match what a regular expression of the policy matches. It
// returns how much the expression weighs.
func (s *spec) setPattern(pattern string) (weight int, err error) {
	if path, ok := literalPath(pattern); ok {
		s.path = path
		return 1, nil
	}
	s.pattern = pattern
	t, err := pcre.Translate(pattern, false)
	if err == nil {
		s.form = formLinear
		if simple, ok := formsOfRest[t.Rest]; ok && t.Prefix != "" {
			s.form = simple
		} else if _, err := syntax.Parse(t.Text, syntax.Perl); err != nil {
			s.form = formGeneral
		}
	} else if errors.Is(err, pcre.ErrBacktracking) {
		t, err = pcre.Translate(pattern, true)
	}
	if err != nil {
		return 0, err
	}
	s.prefix, s.need, s.key, s.weight = t.Prefix, t.Need, t.Prefix, int64(t.Weight)
	if stem := stemOf(pattern); len(stem) > len(s.key) {
		s.key = stem
	}
	s.linear = sync.OnceValues(func() (*regexp.Regexp, error) { return regexp.Compile(t.Text) })
	s.general = sync.OnceValues(func() (*regexp2.Regexp, error) { return pcre.Backtracking(pattern) })
	if s.form == formGeneral {
		if _, err := s.general(); err != nil {
			return 0, err
		}
	}
	return t.Weight, nil
}

// literalPath gives the path that a pattern without operators stands for. Escapes other than these
// are left to the matcher, as libselinux does.
func literalPath(pattern string) (string, bool) {
	const operators = ".^$?*+|[({])}"
	path := make([]byte, 0, len(pattern))
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if c == '\\' {
			i++
			if i == len(pattern) || !strings.ContainsRune(operators+"-_,", rune(pattern[i])) {
				return "", false
			}
			c = pattern[i]
		} else if strings.IndexByte(operators, c) >= 0 {
			return "", false
		}
		path = append(path, c)
	}
	return string(path), true
}

// maxStems is how many directories make a stem.
const maxStems = 3

// stemOf gives the fixed directories that a pattern begins with, with the slash after the last.
// libselinux looks at a specification only for paths in there, also where the expression by itself
// matches others: /a/b|/c is not for /c, and /a/? not for /a. Before version 3.8 that was true of
// the first directory only.
func stemOf(pattern string) string {
	if !strings.HasPrefix(pattern, "/") {
		return ""
	}
	stem := "/"
	for range maxStems {
		pattern = pattern[1:]
		end := strings.IndexByte(pattern, '/')
		if end <= 0 {
			break
		}
		name, ok := literalPath(pattern[:end])
		if !ok {
			break
		}
		stem += name + "/"
		pattern = pattern[end:]
	}
	return stem
}

// subject is a path that is looked up.
type subject struct {
	path string
	text string // with each byte as a character: what regular expressions see
	// multiline says that the path holds a line break, before which $ matches: the short cuts don't
	// hold then.
	multiline bool
}

func newSubject(path string) subject {
	s := subject{path: path, text: pcre.Subject(path)}
	s.multiline = strings.IndexByte(path, '\n') >= 0
	return s
}

// try is matches, and returns the steps that this took. It fails if more are needed than are left.
func (s *spec) try(sub subject, left int64) (matches bool, steps int64, err error) {
	if s.form == formGeneral || sub.multiline {
		start := time.Now()
		matches, err = s.matches(sub)
		return matches, int64(time.Since(start) / stepTime), err
	}
	if steps = s.steps(sub); steps > left {
		return false, steps, errEffort
	}
	matches, err = s.matches(sub)
	return matches, steps, err
}

// steps returns the most steps that matches takes without backtracking.
func (s *spec) steps(sub subject) int64 {
	const searched = 16 // bytes in which a fixed text is looked for in the time of a step
	length := int64(len(sub.path))
	if s.form != formLinear || !strings.Contains(sub.path[len(s.prefix):], s.need) {
		return 1 + length/searched
	}
	return s.weight * (length + 1)
}

// matches tells whether a regular expression matches a path that begins with its prefix.
func (s *spec) matches(sub subject) (bool, error) {
	if !sub.multiline {
		rest := sub.path[len(s.prefix):]
		switch s.form {
		case formAny:
			return true, nil
		case formSubtree:
			return rest == "" || rest[0] == '/', nil
		case formBelow:
			return rest != "", nil
		case formSiblings:
			return strings.IndexByte(rest, '/') < 0, nil
		case formLinear:
			if !strings.Contains(rest, s.need) {
				return false, nil
			}
			re, err := s.linear()
			if err != nil {
				return false, s.error(err)
			}
			return re.MatchString(sub.text), nil
		}
	}
	re, err := s.general()
	if err != nil {
		return false, s.error(err)
	}
	ok, err := re.MatchString(sub.text)
	if err != nil {
		return false, fmt.Errorf("%s: matching %.200q took longer than %v; simplify the expression in the image's policy", s.where, sub.path, pcre.MatchTimeout)
	}
	return ok, nil
}

func (s *spec) error(err error) error {
	return fmt.Errorf("%s: the regular expression %.200q: %w", s.where, s.pattern, err)
}
