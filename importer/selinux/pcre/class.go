package pcre

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// byteSet is what an item of a regular expression matches. The sets are written out, since the
// meaning of \w and its like differs between matchers, and so does the syntax of classes.
type byteSet [256]bool

// bytesIn makes a set of ranges, each of two bytes: the first and the last.
func bytesIn(ranges string) (set byteSet) {
	for i := 0; i+1 < len(ranges); i += 2 {
		set.addRange(ranges[i], ranges[i+1])
	}
	return set
}

func (s *byteSet) addRange(first, last byte) {
	for c := int(first); c <= int(last); c++ {
		s[c] = true
	}
}

func (s *byteSet) add(other byteSet) {
	for c, in := range other {
		s[c] = s[c] || in
	}
}

func (s byteSet) inverse() byteSet {
	for c := range s {
		s[c] = !s[c]
	}
	return s
}

// String writes the set as a class. The empty set has no form that all matchers take: it is "".
func (s byteSet) String() string {
	var text strings.Builder
	for c := 0; c < len(s); c++ {
		if !s[c] {
			continue
		}
		first := c
		for c+1 < len(s) && s[c+1] {
			c++
		}
		text.WriteString(hexByte(byte(first)))
		if c > first {
			text.WriteString("-" + hexByte(byte(c)))
		}
	}
	if text.Len() == 0 {
		return ""
	}
	return "[" + text.String() + "]"
}

// letterSets are the classes of a backslash and a letter. The capital letter is the inverse.
var letterSets = map[byte]byteSet{
	'd': bytesIn("09"),
	'w': bytesIn("09AZaz__"),
	's': bytesIn("\t\r  "),
	'h': bytesIn("\t\t  \xa0\xa0"),
	'v': bytesIn("\n\r\x85\x85"),
}

// posixSets are those in brackets within brackets, for the C locale.
var posixSets = map[string]byteSet{
	"alnum":  bytesIn("09AZaz"),
	"alpha":  bytesIn("AZaz"),
	"ascii":  bytesIn("\x00\x7f"),
	"blank":  bytesIn("\t\t  "),
	"cntrl":  bytesIn("\x00\x1f\x7f\x7f"),
	"digit":  bytesIn("09"),
	"graph":  bytesIn("!~"),
	"lower":  bytesIn("az"),
	"print":  bytesIn(" ~"),
	"punct":  bytesIn("!/:@[`{~"),
	"space":  bytesIn("\t\r  "),
	"upper":  bytesIn("AZ"),
	"word":   bytesIn("09AZaz__"),
	"xdigit": bytesIn("09AFaf"),
}

// letterSet gives the set of a backslash and the letter.
func letterSet(letter byte) (byteSet, bool) {
	if set, ok := letterSets[letter]; ok {
		return set, true
	}
	set, ok := letterSets[letter|0x20]
	return set.inverse(), ok && letter >= 'A' && letter <= 'Z'
}

// set writes a set as an item.
func (t *translator) set(set byteSet) error {
	text := set.String()
	if text == "" {
		return errors.New("a class that matches nothing is not supported")
	}
	t.item(text)
	return nil
}

var errOpenClass = errors.New("a bracket is not closed")

// class reads a class in brackets.
func (t *translator) class() (set byteSet, err error) {
	t.pos++
	negated := strings.HasPrefix(t.in[t.pos:], "^")
	if negated {
		t.pos++
	}
	for first := true; ; first = false {
		if t.pos >= len(t.in) {
			return set, errOpenClass
		}
		if t.in[t.pos] == ']' && !first {
			t.pos++
			if negated {
				set = set.inverse()
			}
			return set, nil
		}
		member, single, err := t.classMember()
		if err != nil {
			return set, err
		}
		if single < 0 {
			set.add(member)
			continue
		}
		last, err := t.rangeEnd(single)
		if err != nil {
			return set, err
		}
		set.addRange(byte(single), byte(last))
	}
}

// rangeEnd reads the end of a range that began with the given byte, which is its end itself if no
// range follows.
func (t *translator) rangeEnd(first int) (int, error) {
	rest := t.in[t.pos:]
	if len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		return first, nil
	}
	before := t.pos
	t.pos++
	_, last, err := t.classMember()
	switch {
	case err != nil:
		return 0, err
	case last < 0: // a class: the hyphen stands for itself
		t.pos = before
		return first, nil
	case last < first:
		return 0, errors.New("a range in brackets ends before it begins")
	}
	return last, nil
}

// classMember reads one member of a class: a byte, or, where that is negative, a set.
func (t *translator) classMember() (set byteSet, single int, err error) {
	rest := t.in[t.pos:]
	if rest == "" {
		return set, 0, errOpenClass
	}
	if strings.HasPrefix(rest, "[:") {
		if name, _, ok := strings.Cut(rest[len("[:"):], ":]"); ok && !strings.ContainsAny(name, `[]\`) {
			t.pos += len("[:") + len(name) + len(":]")
			bare, negated := strings.CutPrefix(name, "^")
			set, known := posixSets[bare]
			if !known {
				return set, 0, fmt.Errorf("there is no class [:%s:]", name)
			}
			if negated {
				set = set.inverse()
			}
			return set, -1, nil
		}
	}
	t.pos++
	if rest[0] != '\\' {
		return set, int(rest[0]), nil
	}
	if len(rest) < 2 {
		return set, 0, errOpenClass
	}
	if set, ok := letterSet(rest[1]); ok {
		t.pos++
		return set, -1, nil
	}
	if rest[1] == 'b' {
		t.pos++
		return set, '\b', nil
	}
	c, err := t.escapedByte()
	return set, int(c), err
}

// wordBoundary is \b for regexp2, whose own knows letters beyond ASCII.
const wordBoundary = `(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))`

const noWordBoundary = `(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))`

// escape translates a backslash and what belongs to it, outside of a class.
func (t *translator) escape() error {
	at := t.pos
	t.pos++
	if t.pos >= len(t.in) {
		return errors.New("a backslash is the last character")
	}
	c := t.in[t.pos]
	if set, ok := letterSet(c); ok {
		t.pos++
		return t.set(set)
	}
	switch c {
	case 'N':
		t.pos++
		return t.set(bytesIn("\n\n").inverse())
	case 'b', 'B', 'A', 'z', 'Z':
		t.pos++
		t.assertion(t.boundary(c))
		return nil
	case 'Q':
		t.pos++
		return t.quoted()
	case 'E': // of a \Q that was not there
		t.pos++
		return nil
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return t.reference(c)
	}
	b, err := t.escapedByte()
	if err != nil {
		return err
	}
	t.literal(b, at)
	return nil
}

// boundary gives the form of an assertion.
func (t *translator) boundary(c byte) string {
	switch {
	case c == 'b' && t.backtrack:
		return wordBoundary
	case c == 'B' && t.backtrack:
		return noWordBoundary
	case c == 'Z' && !t.backtrack:
		return `\z`
	}
	return `\` + string(rune(c))
}

// quoted writes what stands between \Q and \E.
func (t *translator) quoted() error {
	end := strings.Index(t.in[t.pos:], `\E`)
	if end < 0 {
		return errors.New(`\Q without \E is not supported`) // it would quote libselinux's own $
	}
	for range end {
		t.pos++
		t.literal(t.in[t.pos-1], t.pos-1)
	}
	t.pos += len(`\E`)
	return nil
}

// reference translates a back-reference to one of nine groups. PCRE2 takes larger numbers for octal
// ones, as the case may be.
func (t *translator) reference(digit byte) error {
	t.pos++
	if t.pos < len(t.in) && isDigit(t.in[t.pos]) {
		return errors.New("back-references of more than one digit are not supported")
	}
	if !t.backtrack {
		return ErrBacktracking
	}
	t.backReference = max(t.backReference, int(digit-'0'))
	t.item(`(?:\` + string(rune(digit)) + `)`)
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// escapedByte reads what follows a backslash where it stands for one byte.
func (t *translator) escapedByte() (byte, error) {
	c := t.in[t.pos]
	t.pos++
	switch {
	case c == 'x':
		return t.number(2, 16)
	case c == '0':
		return t.number(2, 8)
	case c == 'a':
		return 7, nil
	case c == 'e':
		return 27, nil
	case c == 'f':
		return '\f', nil
	case c == 'n':
		return '\n', nil
	case c == 'r':
		return '\r', nil
	case c == 't':
		return '\t', nil
	case isDigit(c) || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
		return 0, fmt.Errorf(`\%c is not supported`, c)
	}
	return c, nil
}

// number reads up to so many digits; none are zero.
func (t *translator) number(digits, base int) (byte, error) {
	end := t.pos
	for end < len(t.in) && end < t.pos+digits {
		if _, err := strconv.ParseUint(t.in[end:end+1], base, 8); err != nil {
			break
		}
		end++
	}
	text := t.in[t.pos:end]
	t.pos = end
	if text == "" {
		if base == 16 && strings.HasPrefix(t.in[end:], "{") {
			return 0, errors.New(`\x{…} is not supported`)
		}
		text = "0"
	}
	n, err := strconv.ParseUint(text, base, 8)
	return byte(n), err
}
