package dbus

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// rawConn is a connection that sends whatever bytes it is given.
type rawConn struct {
	net.Conn
	in     *bufio.Reader
	serial uint32
}

// connectRawAs opens a connection of a user.
func (b *testBus) connectRawAs(t testing.TB, uid int) *rawConn {
	t.Helper()
	socket, err := dialAs(b, uid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	c := &rawConn{Conn: socket, in: bufio.NewReader(socket)}
	if err := socket.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	c.write(t, []byte("\x00AUTH EXTERNAL "+hex.EncodeToString([]byte(strconv.Itoa(uid)))+"\r\n"))
	if line, err := c.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK ") {
		t.Fatalf("the bus answers %q, %v", line, err)
	}
	c.write(t, []byte("BEGIN\r\n"))
	hello := c.header(busInterface, "Hello")
	hello.texts[godbus.FieldDestination] = busInterface
	hello.texts[godbus.FieldPath] = "/org/freedesktop/DBus"
	c.write(t, hello.appendTo(nil, nil))
	if reply := c.answer(t, hello.serial); reply.Type != godbus.TypeMethodReply {
		t.Fatalf("the bus answers %s", reply)
	}
	return c
}

func (c *rawConn) write(t testing.TB, raw []byte) {
	t.Helper()
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
}

// header is the header of a call to the daemon's root object.
func (c *rawConn) header(iface, member string) *header {
	c.serial++
	h := &header{order: binary.LittleEndian, typ: godbus.TypeMethodCall, serial: c.serial}
	h.texts[godbus.FieldDestination] = BusName
	h.texts[godbus.FieldPath] = string(rootPath)
	h.texts[godbus.FieldInterface] = iface
	h.texts[godbus.FieldMember] = member
	return h
}

// answer waits for the answer to a call.
func (c *rawConn) answer(t testing.TB, serial uint32) *godbus.Message {
	t.Helper()
	for {
		msg, err := godbus.DecodeMessage(c.in)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if answered, _ := msg.Headers[godbus.FieldReplySerial].Value().(uint32); answered == serial {
			return msg
		}
	}
}

// errorOf is the name of the error that a message is, or what it is instead, and its text.
func errorOf(msg *godbus.Message) (name, text string) {
	name, isError := msg.Headers[godbus.FieldErrorName].Value().(string)
	if !isError {
		return fmt.Sprintf("a %s", msg.Type), ""
	}
	if len(msg.Body) > 0 {
		text, _ = msg.Body[0].(string)
	}
	return name, text
}

// bodyWriter writes values in little-endian order.
type bodyWriter struct{ raw []byte }

func (w *bodyWriter) align(n int) {
	for len(w.raw)%n != 0 {
		w.raw = append(w.raw, 0)
	}
}

func (w *bodyWriter) uint32(number uint32) *bodyWriter {
	w.align(4)
	w.raw = binary.LittleEndian.AppendUint32(w.raw, number)
	return w
}

func (w *bodyWriter) text(text string) *bodyWriter {
	w.uint32(uint32(len(text)))
	w.raw = append(append(w.raw, text...), 0)
	return w
}

func (w *bodyWriter) signature(signature string) *bodyWriter {
	w.raw = append(w.raw, byte(len(signature)))
	w.raw = append(append(w.raw, signature...), 0)
	return w
}

// list writes an array whose elements begin at the given boundary.
func (w *bodyWriter) list(boundary int, elements func()) *bodyWriter {
	w.uint32(0)
	length := len(w.raw)
	w.align(boundary)
	start := len(w.raw)
	elements()
	binary.LittleEndian.PutUint32(w.raw[length-4:], uint32(len(w.raw)-start))
	return w
}

// options writes an a{sv} with one entry.
func (w *bodyWriter) options(name, signature string, value func()) *bodyWriter {
	return w.list(8, func() {
		w.text(name).signature(signature)
		value()
	})
}

// variants writes variants that lie in each other, and the innermost one holds a byte.
func (w *bodyWriter) variants(depth int) {
	for range depth - 1 {
		w.signature("v")
	}
	w.signature("y")
	w.raw = append(w.raw, 7)
}
