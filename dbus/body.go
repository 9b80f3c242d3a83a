package dbus

import (
	"fmt"
	"strings"
)

// bodyChecker goes over the body of a call before godbus decodes it: a value costs godbus many
// times its length, and what godbus does not understand ends the connection.
type bodyChecker struct {
	order byteOrder
	body  []byte
	pos   int
	count int // of values
}

// checkBody refuses the body of a call that holds more than the limits allow. The error is a
// *godbus.Error.
func checkBody(order byteOrder, signature string, body []byte) error {
	c := &bodyChecker{order: order, body: body}
	for signature != "" {
		typ, rest, err := firstType(signature, 0)
		if err == nil {
			err = c.value(typ, 0)
		}
		if err != nil {
			return err
		}
		signature = rest
	}
	return nil
}

// fixedTypes are the types of fixed size. The size is also the boundary that a value of the type
// begins at.
var fixedTypes = map[byte]int{
	'y': 1, 'b': 4, 'n': 2, 'q': 2, 'i': 4, 'u': 4, 'x': 8, 't': 8, 'd': 8, 'h': 4,
}

// alignment is the boundary that a value of the type begins at.
func alignment(typ byte) int {
	if size, fixed := fixedTypes[typ]; fixed {
		return size
	}
	switch typ {
	case 's', 'o', 'a':
		return 4
	case '(', '{':
		return 8
	}
	return 1
}

// value goes over one value of a single complete type that lies in depth containers.
func (c *bodyChecker) value(typ string, depth int) error {
	if c.count++; c.count > maxValues {
		return tooMuch("the call holds more than %d values", maxValues)
	}
	if err := c.align(alignment(typ[0])); err != nil {
		return err
	}
	if size, fixed := fixedTypes[typ[0]]; fixed {
		return c.fixed(typ[0], size)
	}
	switch typ[0] {
	case 's', 'o':
		_, err := c.text(4)
		return err
	case 'g':
		_, err := c.text(1)
		return err
	}
	if depth++; depth > maxNesting {
		return tooDeep()
	}
	switch typ[0] {
	case 'v':
		return c.variant(depth)
	case 'a':
		return c.array(typ[1:], depth)
	case '(', '{':
		return c.values(typ[1:len(typ)-1], depth)
	}
	return malformed("it has a value of the type %q", typ)
}

// fixed goes over a value of fixed size.
func (c *bodyChecker) fixed(typ byte, size int) error {
	raw, err := c.take(size)
	if err == nil && typ == 'b' && c.order.Uint32(raw) > 1 {
		err = malformed("a boolean is %d", c.order.Uint32(raw))
	}
	return err
}

// text gives a text whose length takes the given number of bytes.
func (c *bodyChecker) text(lengthSize int) (string, error) {
	raw, err := c.take(lengthSize)
	if err != nil {
		return "", err
	}
	length := int64(raw[0])
	if lengthSize == 4 {
		length = int64(c.order.Uint32(raw))
	}
	if length > maxText {
		return "", tooMuch("a text in the call has %d bytes; at most %d are taken", length, maxText)
	}
	raw, err = c.take(int(length) + 1)
	if err != nil {
		return "", err
	}
	return string(raw[:length]), nil
}

func (c *bodyChecker) variant(depth int) error {
	signature, err := c.text(1)
	if err != nil {
		return err
	}
	typ, rest, err := firstType(signature, depth)
	if err != nil {
		return err
	}
	if rest != "" {
		return malformed("a variant has the signature %q", signature)
	}
	return c.value(typ, depth)
}

func (c *bodyChecker) array(element string, depth int) error {
	raw, err := c.take(4)
	if err != nil {
		return err
	}
	length := int64(c.order.Uint32(raw))
	if err := c.align(alignment(element[0])); err != nil {
		return err
	}
	if length > int64(len(c.body)-c.pos) {
		return malformed("a list of %d bytes is cut", length)
	}
	end := c.pos + int(length)
	for entries := 0; c.pos < end; entries++ {
		if entries == maxEntries {
			return tooMuch("a list or map in the call has more than %d entries", maxEntries)
		}
		if err := c.value(element, depth); err != nil {
			return err
		}
	}
	if c.pos != end {
		return malformed("the last entry of a list reaches beyond it")
	}
	return nil
}

// values goes over what a structure or an entry of a map holds.
func (c *bodyChecker) values(types string, depth int) error {
	for types != "" {
		typ, rest, err := firstType(types, depth)
		if err == nil {
			err = c.value(typ, depth)
		}
		if err != nil {
			return err
		}
		types = rest
	}
	return nil
}

func (c *bodyChecker) align(n int) error {
	_, err := c.take(-c.pos & (n - 1))
	return err
}

// take gives the next n bytes.
func (c *bodyChecker) take(n int) ([]byte, error) {
	if n > len(c.body)-c.pos {
		return nil, malformed("its body is cut")
	}
	raw := c.body[c.pos : c.pos+n]
	c.pos += n
	return raw, nil
}

// firstType splits a signature after its first single complete type, which lies in depth
// containers.
func firstType(signature string, depth int) (typ, rest string, err error) {
	if signature == "" {
		return "", "", malformed("a signature ends too early")
	}
	length := 1
	switch signature[0] {
	case 'a', '(', '{':
		if depth++; depth > maxNesting {
			return "", "", tooDeep()
		}
	case 'v':
	default:
		_, fixed := fixedTypes[signature[0]]
		if !fixed && !strings.ContainsRune("sog", rune(signature[0])) {
			return "", "", malformed("the type %q is unknown", signature[:1])
		}
	}
	switch signature[0] {
	case 'a':
		length, err = arrayLength(signature, depth)
	case '(':
		length, err = groupLength(signature, ')', depth)
	case '{':
		err = malformed("an entry of a map is in no map")
	}
	if err != nil {
		return "", "", err
	}
	return signature[:length], signature[length:], nil
}

// arrayLength is the length of the type of a list or map, at the start of a signature.
func arrayLength(signature string, depth int) (int, error) {
	if !strings.HasPrefix(signature, "a{") {
		element, _, err := firstType(signature[1:], depth)
		return 1 + len(element), err
	}
	length, err := groupLength(signature[1:], '}', depth)
	if err != nil {
		return 0, err
	}
	key := signature[2]
	if _, fixed := fixedTypes[key]; !fixed && key != 's' && key != 'o' || key == 'b' {
		return 0, malformed("a map has keys of the type %q", string(key))
	}
	value, _, err := firstType(signature[3:], depth)
	if err == nil && 2+len(value)+2 != 1+length {
		err = malformed("an entry of a map is more or less than a key and a value")
	}
	return 1 + length, err
}

// groupLength is the length of a group of types, its brackets included, that ends with the byte
// end.
func groupLength(signature string, end byte, depth int) (int, error) {
	length := 1
	for length < len(signature) && signature[length] != end {
		typ, _, err := firstType(signature[length:], depth)
		if err != nil {
			return 0, err
		}
		length += len(typ)
	}
	if length == 1 || length == len(signature) {
		return 0, malformed("a group of types is empty or not closed")
	}
	return length + 1, nil
}

func tooDeep() error {
	return tooMuch("values in the call lie in each other more than %d deep", maxNesting)
}

func malformed(format string, args ...any) error {
	return standardError(errInvalidArgs, "the call is malformed: %s", fmt.Sprintf(format, args...))
}
