package dbus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	godbus "github.com/godbus/dbus/v5"
)

// The message format is that of the D-Bus specification, "Message Protocol".

// fixedHeader is the length of what comes before a message's header fields: byte order, type,
// flags, version, the body's length, the serial and the fields' length.
const fixedHeader = 16

// byteOrder is the byte order of one message.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// header is the header of a message.
type header struct {
	order  byteOrder
	typ    godbus.Type
	flags  godbus.Flags
	serial uint32
	// size is the length of the whole message, and body that of its body.
	size, body int64
	// texts are the fields that hold a text, by their code. One that is longer than maxPath, or not
	// of the field's type, is left out.
	texts       [godbus.FieldUnixFDs + 1]string
	replySerial uint32
	descriptors int64 // how many come along
	files       []*os.File
	// unusable: the fields are longer than maxHeader, or malformed.
	unusable bool
}

// fieldTypes are the types of the fields of a header, by their code.
const fieldTypes = "\x00osssussgu"

// knownFlags are those that have a meaning; others are to be ignored.
const knownFlags = godbus.FlagNoReplyExpected | godbus.FlagNoAutoStart |
	godbus.FlagAllowInteractiveAuthorization

// cost is what the message counts as while it is in work, in bytes.
func (h *header) cost() int64 { return h.size + h.descriptors*descriptorCost }

// wantsReply tells whether the sender waits for an answer.
func (h *header) wantsReply() bool {
	return h.typ == godbus.TypeMethodCall && h.flags&godbus.FlagNoReplyExpected == 0
}

// readHeader reads a message up to its body. Of a header that is larger than maxHeader it holds no
// more than the known fields. An error means that the connection cannot be used any longer.
func readHeader(in *bufio.Reader) (*header, error) {
	var fixed [fixedHeader]byte
	if _, err := io.ReadFull(in, fixed[:]); err != nil {
		return nil, err
	}
	h := &header{typ: godbus.Type(fixed[1]), flags: godbus.Flags(fixed[2]) & knownFlags}
	switch fixed[0] {
	case 'l':
		h.order = binary.LittleEndian
	case 'B':
		h.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("read a message: its first byte, %#x, names no byte order", fixed[0])
	}
	h.body = int64(h.order.Uint32(fixed[4:]))
	h.serial = h.order.Uint32(fixed[8:])
	fields := int64(h.order.Uint32(fixed[12:]))
	padded := (fields + 7) &^ 7
	h.size = fixedHeader + padded + h.body
	h.unusable = fields > maxHeader

	r := fieldReader{in: in, order: h.order, left: fields}
	err := r.readInto(h)
	if errors.Is(err, errMalformed) {
		h.unusable = true
		err = nil
	}
	if err == nil {
		err = discard(in, padded-fields+r.left)
	}
	return h, err
}

// errMalformed means that a message is not what the specification says.
var errMalformed = errors.New("malformed message")

// fieldReader reads header fields.
type fieldReader struct {
	in    *bufio.Reader
	order byteOrder
	left  int64 // bytes that have not been read
	pos   int64 // bytes that have
}

func (r *fieldReader) readInto(h *header) error {
	for r.left > 0 {
		if err := r.align(8); err != nil {
			return err
		}
		code, err := r.byte()
		if err != nil {
			return err
		}
		typ, err := r.text('g', 1)
		if err != nil {
			return err
		}
		if err := r.value(h, code, typ); err != nil {
			return err
		}
	}
	return nil
}

// value reads the value of one field.
func (r *fieldReader) value(h *header, code byte, typ string) error {
	switch typ {
	case "s", "o", "g":
		text, err := r.text(typ[0], maxPath)
		if err == nil && int(code) < len(fieldTypes) && fieldTypes[code] == typ[0] {
			h.texts[code] = text
		}
		return err
	case "u":
		number, err := r.uint32()
		switch godbus.HeaderField(code) {
		case godbus.FieldReplySerial:
			h.replySerial = number
		case godbus.FieldUnixFDs:
			h.descriptors = int64(number)
		}
		return err
	}
	return errMalformed
}

// text reads a text of the type 's', 'o' or 'g', and gives "" for one that is longer than limit.
func (r *fieldReader) text(typ byte, limit int64) (string, error) {
	var length int64
	if typ == 'g' {
		short, err := r.byte()
		if err != nil {
			return "", err
		}
		length = int64(short)
	} else {
		long, err := r.uint32()
		if err != nil {
			return "", err
		}
		length = int64(long)
	}
	if length+1 > r.left {
		return "", errMalformed
	}
	if length > limit {
		return "", r.skip(length + 1)
	}
	text := make([]byte, length+1)
	if err := r.read(text); err != nil {
		return "", err
	}
	return string(text[:length]), nil
}

func (r *fieldReader) uint32() (uint32, error) {
	if err := r.align(4); err != nil {
		return 0, err
	}
	var number [4]byte
	err := r.read(number[:])
	return r.order.Uint32(number[:]), err
}

func (r *fieldReader) byte() (byte, error) {
	var one [1]byte
	err := r.read(one[:])
	return one[0], err
}

func (r *fieldReader) align(n int64) error { return r.skip(-r.pos & (n - 1)) }

func (r *fieldReader) skip(n int64) error {
	if n > r.left {
		return errMalformed
	}
	r.left, r.pos = r.left-n, r.pos+n
	return discard(r.in, n)
}

func (r *fieldReader) read(to []byte) error {
	n := int64(len(to))
	if n > r.left {
		return errMalformed
	}
	r.left, r.pos = r.left-n, r.pos+n
	_, err := io.ReadFull(r.in, to)
	return err
}

// discard skips n bytes.
func discard(in *bufio.Reader, n int64) error {
	_, err := in.Discard(int(n))
	return err
}

// appendTo appends the message with the header's fields and the given body. A signature says what
// the body is.
func (h *header) appendTo(message []byte, body []byte) []byte {
	start := len(message)
	order := byte('l')
	if h.order == binary.BigEndian {
		order = 'B'
	}
	message = append(message, order, byte(h.typ), byte(h.flags), 1)
	message = h.order.AppendUint32(message, uint32(len(body)))
	message = h.order.AppendUint32(message, h.serial)
	message = h.order.AppendUint32(message, 0) // set below
	pad := func(to int) {
		for (len(message)-start)%to != 0 {
			message = append(message, 0)
		}
	}
	for code := 1; code < len(fieldTypes); code++ {
		typ := fieldTypes[code]
		isSerial := godbus.HeaderField(code) == godbus.FieldReplySerial && h.replySerial != 0
		if h.texts[code] == "" && !isSerial {
			continue
		}
		pad(8)
		message = append(message, byte(code), 1, typ, 0)
		switch text := h.texts[code]; typ {
		case 'u':
			message = h.order.AppendUint32(message, h.replySerial)
		case 'g':
			message = append(message, byte(len(text)))
			message = append(append(message, text...), 0)
		default:
			message = h.order.AppendUint32(message, uint32(len(text)))
			message = append(append(message, text...), 0)
		}
	}
	h.order.PutUint32(message[start+12:], uint32(len(message)-start-fixedHeader))
	pad(8)
	return append(message, body...)
}

// refusal is an answer to the call that says which error it is, and in a few words why.
func (h *header) refusal(serial uint32, name, text string) []byte {
	answer := header{
		order: h.order, typ: godbus.TypeError, flags: godbus.FlagNoReplyExpected,
		serial: serial, replySerial: h.serial,
	}
	answer.texts[godbus.FieldErrorName] = name
	answer.texts[godbus.FieldDestination] = h.texts[godbus.FieldSender]
	answer.texts[godbus.FieldSignature] = "s"
	body := h.order.AppendUint32(nil, uint32(len(text)))
	return answer.appendTo(nil, append(append(body, text...), 0))
}
