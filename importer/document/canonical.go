package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting bounds arrays and objects in each other. Documents of images have less than ten.
const maxNesting = 256

// ErrAmbiguous is the error for a document in which an object has one key twice: programs differ in
// which value counts.
var ErrAmbiguous = errors.New("a key is there twice in one object")

// Canonical returns a JSON document in its canonical form (RFC 8785). What this form cannot express
// it replaces, as most programs do when they read the document: of the values of a repeated key the
// last one counts, a lone surrogate and bytes that are not UTF-8 become U+FFFD, and a number beyond
// the range of a double becomes the largest one. In that case replaced is not nil and says what was
// replaced first; it is ErrAmbiguous for a repeated key, whatever else there is.
//
// The time is near-linear in the size of raw, and the memory is some times that size.
func Canonical(raw []byte) (text []byte, replaced, err error) {
	c := &canonicalizer{raw: raw, source: json.NewDecoder(bytes.NewReader(raw)), out: make([]byte, 0, len(raw))}
	c.source.UseNumber()
	token, err := c.next()
	if err == nil {
		err = c.value(token, 0)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("it is not valid JSON: %w", noEnd(err))
	}
	if _, err := c.source.Token(); err != io.EOF {
		return nil, nil, errors.New("it is not valid JSON: something follows the document")
	}
	return c.out, c.replaced, nil
}

// noEnd gives an end of the document its meaning in the middle of a value.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// canonicalizer writes the values of one document.
type canonicalizer struct {
	raw      []byte
	source   *json.Decoder
	read     int64 // offset in raw of what the source has yet to read
	out      []byte
	replaced error
}

// next returns the next token, and notes a string that cannot be taken as it is written.
func (c *canonicalizer) next() (json.Token, error) {
	token, err := c.source.Token()
	if err != nil {
		return nil, err
	}
	start := c.read
	c.read = c.source.InputOffset()
	if text, ok := token.(string); ok && bytes.ContainsRune([]byte(text), utf8.RuneError) && !isExact(c.raw[start:c.read]) {
		c.replace(errors.New("a string is not valid Unicode"))
	}
	return token, nil
}

func (c *canonicalizer) replace(what error) {
	if c.replaced == nil || what == ErrAmbiguous {
		c.replaced = what
	}
}

// value writes the value that begins with a token. depth counts the arrays and objects around it.
func (c *canonicalizer) value(token json.Token, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("more than %d arrays and objects in each other", maxNesting)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return c.object(depth)
		}
		return c.array(depth)
	case string:
		c.out = appendString(c.out, v)
	case json.Number:
		return c.number(v)
	case bool:
		c.out = strconv.AppendBool(c.out, v)
	default:
		c.out = append(c.out, "null"...)
	}
	return nil
}

func (c *canonicalizer) array(depth int) error {
	c.out = append(c.out, '[')
	for first := true; ; first = false {
		token, err := c.next()
		if err != nil {
			return err
		}
		if token == json.Delim(']') {
			c.out = append(c.out, ']')
			return nil
		}
		if !first {
			c.out = append(c.out, ',')
		}
		if err := c.value(token, depth+1); err != nil {
			return err
		}
	}
}

// member is a key of an object with its value, as they were written to the output from start to
// end.
type member struct {
	key        string
	start, end int
}

// object writes the members as they come, and puts them in order afterwards.
func (c *canonicalizer) object(depth int) error {
	c.out = append(c.out, '{')
	begin := len(c.out)
	var members []member
	for {
		token, err := c.next()
		if err != nil {
			return err
		}
		if token == json.Delim('}') {
			break
		}
		m := member{start: len(c.out)}
		m.key, _ = token.(string) // the decoder accepts no other token here
		c.out = append(appendString(c.out, m.key), ':')
		if token, err = c.next(); err == nil {
			err = c.value(token, depth+1)
		}
		if err != nil {
			return err
		}
		m.end = len(c.out)
		members = append(members, m)
	}
	c.order(begin, members)
	c.out = append(c.out, '}')
	return nil
}

// order writes the members that stand from begin to the end of the output once more: sorted,
// separated, and each key once.
func (c *canonicalizer) order(begin int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int { return compareUTF16(a.key, b.key) })
	written := bytes.Clone(c.out[begin:])
	c.out = c.out[:begin]
	for i, m := range members {
		if i+1 < len(members) && members[i+1].key == m.key {
			c.replace(ErrAmbiguous)
			continue
		}
		if len(c.out) > begin {
			c.out = append(c.out, ',')
		}
		c.out = append(c.out, written[m.start-begin:m.end-begin]...)
	}
}

// number writes a number as ECMAScript does.
func (c *canonicalizer) number(text json.Number) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if errors.Is(err, strconv.ErrRange) {
		c.replace(errors.New("a number is out of range"))
		f = math.Copysign(math.MaxFloat64, f)
	} else if err != nil {
		return err
	}
	if f == 0 {
		f = 0 // not -0
	}
	written, err := json.Marshal(f) // has the form that ECMAScript prescribes, except for -0
	c.out = append(c.out, written...)
	return err
}

// appendString writes a string with the escapes that RFC 8785 prescribes.
func appendString(out []byte, text string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	for _, b := range []byte(text) {
		switch {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b >= 0x20:
			out = append(out, b)
		default:
			if i := bytes.IndexByte([]byte("\b\t\n\f\r"), b); i >= 0 {
				out = append(out, '\\', "btnfr"[i])
			} else {
				out = append(out, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
			}
		}
	}
	return append(out, '"')
}

// compareUTF16 compares valid texts by their UTF-16 code units.
func compareUTF16(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		return len(a) - len(b)
	}
	for i > 0 && !utf8.RuneStart(a[i]) { // the first byte of the character, which both have
		i--
	}
	x, _ := utf8.DecodeRuneInString(a[i:])
	y, _ := utf8.DecodeRuneInString(b[i:])
	if large := rune(0xffff); (x > large) == (y > large) {
		return int(x - y)
	}
	return int(firstUnit(x) - firstUnit(y))
}

// firstUnit returns the first UTF-16 code unit of a character.
func firstUnit(r rune) rune {
	if high, _ := utf16.EncodeRune(r); high != utf8.RuneError {
		return high
	}
	return r
}

// isExact reports whether a valid string literal, with what stands before it, decodes to characters
// without a replacement.
func isExact(literal []byte) bool {
	if !utf8.Valid(literal) {
		return false
	}
	for i := 0; i < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		i++
		if literal[i] != 'u' {
			continue
		}
		unit := escapedUnit(literal[i:])
		i += 4
		if !utf16.IsSurrogate(unit) {
			continue
		}
		if i+2 >= len(literal) || literal[i+1] != '\\' || literal[i+2] != 'u' ||
			utf16.DecodeRune(unit, escapedUnit(literal[i+2:])) == utf8.RuneError {
			return false
		}
		i += 6
	}
	return true
}

// escapedUnit returns the code unit of an escape sequence, which begins with its "u".
func escapedUnit(escape []byte) rune {
	unit, _ := strconv.ParseUint(string(escape[1:5]), 16, 16)
	return rune(unit)
}
