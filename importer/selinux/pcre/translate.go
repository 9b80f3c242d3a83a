package pcre

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of a regular expression. Those of libselinux 3.11 and PCRE2 where they have one.
const (
	maxPattern = 4096  // bytes
	maxRepeat  = 65535 // in braces
	maxGoCount = 1000  // the most that package regexp takes in braces
	maxWeight  = 20000 // matching steps, about, that the pattern unfolds to; real ones have less than 200
	maxDepth   = 250   // groups in groups
)

// ErrBacktracking reports that a pattern cannot be written for a matcher without backtracking.
var ErrBacktracking = errors.New("it needs a backtracking matcher")

// Translation is a regular expression of a policy in the syntax that a Go matcher takes.
type Translation struct {
	// Text is the expression in the matcher's syntax.
	Text string
	// Weight is about how many steps it takes for each character of a path.
	Weight int
	// Prefix begins every path that matches, and Rest is what follows it in the original.
	Prefix, Rest string
	// Need is in every path that matches, after the prefix.
	Need string
}

// Translate writes a PCRE2 expression, put between ^ and $, for package regexp, or with backtrack
// for package regexp2. Both get the path with each byte as one character. It fails with
// ErrBacktracking where only regexp2 will do, and with another error for what is no valid
// expression or what is supported by neither.
//
// For package regexp the path must hold no line break, because PCRE2's $ matches before one at the
// end.
func Translate(pattern string, backtrack bool) (Translation, error) {
	if len(pattern) > maxPattern {
		return Translation{}, fmt.Errorf("it has %d bytes, more than %d", len(pattern), maxPattern)
	}
	t := &translator{in: pattern, backtrack: backtrack, plain: true, atom: -1, groups: []group{{}}}
	t.out.WriteString("(?s)^")
	for t.pos < len(t.in) {
		if err := t.next(); err != nil {
			return Translation{}, err
		}
	}
	if len(t.groups) > 1 {
		return Translation{}, errors.New("a parenthesis is not closed")
	}
	if t.backReference > t.captures {
		return Translation{}, fmt.Errorf(`\%d refers to a group that is not there`, t.backReference)
	}
	t.endRun()
	t.addAtom()
	weight := t.groups[0].weight + 1
	if weight > maxWeight {
		return Translation{}, errComplex
	}
	t.out.WriteByte('$')
	result := Translation{Text: t.out.String(), Weight: weight, Rest: pattern}
	if t.plain {
		result.Prefix, result.Rest, result.Need = t.prefix, pattern[t.prefixEnd:], t.need
	}
	return result, nil
}

var errComplex = errors.New("it is too complex")

// group is a group that is not closed yet.
type group struct {
	at     int // where it begins in the output
	weight int
	assert bool // look-around: nothing that a quantifier could follow
}

type translator struct {
	in        string
	pos       int
	out       strings.Builder
	backtrack bool
	groups    []group // the outermost is the pattern itself

	atom       int // where in the output the last item begins that a quantifier may follow; -1: there is none
	atomWeight int

	captures, backReference int

	// Fixed texts outside of groups.
	plain     bool // they are in every path that matches
	run       []byte
	runEnd    int // in the input, after the last byte of run; lastAt is before it
	lastAt    int
	started   bool // the prefix is known
	prefix    string
	prefixEnd int
	need      string
}

// next translates the next item of the pattern.
func (t *translator) next() error {
	c := t.in[t.pos]
	switch c {
	case '\\':
		return t.escape()
	case '[':
		set, err := t.class()
		if err != nil {
			return err
		}
		return t.set(set)
	case '(':
		return t.open()
	case ')':
		return t.close()
	case '*', '+', '?':
		t.pos++
		return t.quantify(string(c), 1)
	case '{':
		if m := bracesForm.FindStringSubmatch(t.in[t.pos:]); m != nil {
			return t.repeat(m)
		}
	case '|':
		t.pos++
		t.endRun()
		t.addAtom()
		t.plain = t.plain && len(t.groups) > 1
		t.out.WriteByte('|')
		return nil
	case '^', '$':
		t.pos++
		t.assertion(string(c))
		return nil
	case '.':
		t.pos++
		t.item(".")
		return nil
	}
	t.pos++
	t.literal(c, t.pos-1)
	return nil
}

// item writes something that matches one character.
func (t *translator) item(text string) {
	t.endRun()
	t.write(text)
}

func (t *translator) write(text string) {
	t.addAtom()
	t.atom, t.atomWeight = t.out.Len(), 1
	t.out.WriteString(text)
}

// assertion writes something that matches no character.
func (t *translator) assertion(text string) {
	t.endRun()
	t.addAtom()
	t.out.WriteString(text)
}

// addAtom gives the weight of the last item to its group, since no quantifier follows that could
// multiply it.
func (t *translator) addAtom() {
	if t.atom >= 0 {
		t.groups[len(t.groups)-1].weight += t.atomWeight
	}
	t.atom = -1
}

// literal writes a byte that stands for itself and began at the given place in the input.
func (t *translator) literal(c byte, at int) {
	if len(t.groups) == 1 {
		t.run = append(t.run, c)
		t.lastAt, t.runEnd = at, t.pos
	}
	t.write(quoteByte(c))
}

// quoteByte writes a byte so that it stands for itself.
func quoteByte(c byte) string {
	if c < ' ' || c > '~' {
		return hexByte(c)
	}
	return regexp.QuoteMeta(string(rune(c)))
}

func hexByte(c byte) string { return fmt.Sprintf(`\x%02x`, c) }

// endRun ends a fixed text.
func (t *translator) endRun() {
	if !t.started {
		// The first item of the pattern decides whether there is a prefix.
		t.started, t.prefix, t.prefixEnd = true, string(t.run), t.runEnd
	} else if len(t.run) > len(t.need) {
		t.need = string(t.run)
	}
	t.run = t.run[:0]
}

// dropLast takes the last byte off a fixed text, because a quantifier follows it.
func (t *translator) dropLast() {
	if len(t.run) > 0 {
		t.run = t.run[:len(t.run)-1]
		t.runEnd = t.lastAt
	}
	t.endRun()
}

// bracesForm is a quantifier like {2,3}. Anything else in braces stands for itself.
var bracesForm = regexp.MustCompile(`^\{([0-9]{1,5})(,([0-9]{1,5})?)?\}`)

// repeat applies a quantifier in braces.
func (t *translator) repeat(braces []string) error {
	least, err := strconv.Atoi(braces[1])
	most := least
	if err == nil && braces[3] != "" {
		most, err = strconv.Atoi(braces[3])
	}
	switch {
	case err != nil:
		return err
	case most < least:
		return fmt.Errorf("the numbers in %s are out of order", braces[0])
	case most > maxRepeat:
		return fmt.Errorf("%s repeats more than %d times", braces[0], maxRepeat)
	case most > maxGoCount && !t.backtrack:
		return ErrBacktracking
	}
	t.pos += len(braces[0])
	return t.quantify(braces[0], max(most, 1))
}

// quantify applies a quantifier to the last item, with what makes it lazy or possessive.
func (t *translator) quantify(text string, count int) error {
	if t.atom < 0 {
		return fmt.Errorf("there is nothing that %s could repeat", text)
	}
	t.dropLast()
	weight := t.atomWeight * count
	if weight > maxWeight {
		return errComplex
	}
	possessive := false
	switch {
	case strings.HasPrefix(t.in[t.pos:], "?"):
		t.pos++
		text += "?"
	case strings.HasPrefix(t.in[t.pos:], "+"):
		t.pos++
		possessive = true
	}
	if possessive {
		if !t.backtrack {
			return ErrBacktracking
		}
		whole := t.out.String()
		t.out.Reset()
		t.out.WriteString(whole[:t.atom] + "(?>" + whole[t.atom:] + text + ")")
	} else {
		t.out.WriteString(text)
	}
	t.atomWeight = weight
	t.addAtom()
	return nil
}

// optionsForm is how options are set, for the rest of a group or for one that begins there.
var optionsForm = regexp.MustCompile(`^\(\?([is]+(?:-[is]+)?|-[is]+)([):])`)

// groupKinds are the beginnings of groups with a meaning of their own.
var groupKinds = []struct {
	text              string
	backtrack, assert bool
}{
	{text: "(?:"},
	{text: "(?=", backtrack: true, assert: true},
	{text: "(?!", backtrack: true, assert: true},
	{text: "(?<=", backtrack: true, assert: true},
	{text: "(?<!", backtrack: true, assert: true},
	{text: "(?>", backtrack: true},
}

// open translates the beginning of a group.
func (t *translator) open() error {
	t.endRun()
	rest := t.in[t.pos:]
	if m := optionsForm.FindStringSubmatch(rest); m != nil {
		t.plain = false // i may make a fixed text match others
		t.pos += len(m[0])
		if m[2] == ")" {
			t.assertion(m[0])
			return nil
		}
		return t.push(m[0], false)
	}
	for _, kind := range groupKinds {
		if !strings.HasPrefix(rest, kind.text) {
			continue
		}
		if kind.backtrack && !t.backtrack {
			return ErrBacktracking
		}
		t.pos += len(kind.text)
		return t.push(kind.text, kind.assert)
	}
	if strings.HasPrefix(rest, "(?") || strings.HasPrefix(rest, "(*") {
		return fmt.Errorf("groups that begin with %.4s are not supported", rest)
	}
	t.pos++
	t.captures++
	return t.push("(", false)
}

func (t *translator) push(text string, assert bool) error {
	if len(t.groups) > maxDepth {
		return errComplex
	}
	t.addAtom()
	t.groups = append(t.groups, group{at: t.out.Len(), assert: assert})
	t.out.WriteString(text)
	return nil
}

// close translates the end of a group.
func (t *translator) close() error {
	t.pos++
	if len(t.groups) == 1 {
		return errors.New("a parenthesis is closed that is not open")
	}
	t.addAtom()
	closed := t.groups[len(t.groups)-1]
	t.groups = t.groups[:len(t.groups)-1]
	t.out.WriteByte(')')
	if closed.weight++; closed.weight > maxWeight {
		return errComplex
	}
	if closed.assert {
		t.groups[len(t.groups)-1].weight += closed.weight
		return nil
	}
	t.atom, t.atomWeight = closed.at, closed.weight
	return nil
}
