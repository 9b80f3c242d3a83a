package dbus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	godbus "github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"
)

// gate stands between the bus and godbus, which decodes whatever comes. It looks at each message's
// header, reads no body that is larger than a call can be, and passes on only what godbus can
// decode at a cost that is in proportion. A call that it refuses is answered with the reason.
//
// Read is for one goroutine, Write for any number of them.
type gate struct {
	socket net.Conn
	bytes  *receiver
	in     *bufio.Reader
	out    *refusals
	log    logrus.FieldLogger
	// serial gives the serial of an answer.
	serial func() uint32
	// unanswered says why no call with that sender and serial may be passed on now, or nil. The
	// error is a *godbus.Error.
	unanswered func(callKey) error
	// admit says why a call of that size must not be passed on now, or nil. The error is a
	// *godbus.Error.
	admit func(sender string, size int64) error
	// refused is called for each call that was not passed on.
	refused func()

	begun   bool    // the handshake is over
	current *header // of the message that was passed on last, as it came
	message []byte  // what godbus has yet to read of it
}

// The last lines that a client sends before messages.
var (
	askForDescriptors = []byte("NEGOTIATE_UNIX_FD\r\n")
	beginLine         = []byte("BEGIN\r\n")
)

func newGate(socket net.Conn, calls *callTracker, turns *turns, log logrus.FieldLogger) *gate {
	received := &receiver{socket: socket}
	return &gate{
		socket:     socket,
		bytes:      received,
		in:         bufio.NewReaderSize(turning{received, turns}, 64<<10),
		out:        newRefusals(socket),
		log:        log,
		serial:     calls.GetSerial,
		unanswered: calls.unanswered,
		admit:      turns.admit,
		refused:    calls.touch,
	}
}

// turning is the socket as the gate's buffer reads it: calls get their turn while there is nothing
// to read.
type turning struct {
	socket io.Reader
	turns  *turns
}

// Read implements io.Reader.
func (t turning) Read(p []byte) (int, error) {
	t.turns.hold(false)
	defer t.turns.hold(true)
	return t.socket.Read(p)
}

// Close implements io.Closer. Refused calls are answered first.
func (g *gate) Close() error {
	g.out.close()
	return g.socket.Close()
}

// Read implements io.Reader for godbus: it gives the handshake, and then only whole messages that
// may pass.
func (g *gate) Read(p []byte) (int, error) {
	if !g.begun {
		return g.in.Read(p)
	}
	for len(g.message) == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.message)
	g.message = g.message[n:]
	return n, nil
}

// next reads one message, and makes it the one to pass on if it may.
func (g *gate) next() error {
	if g.current != nil {
		g.bytes.closing.close(g.current.files) // unless the server has taken them
	}
	start := g.bytes.total - int64(g.in.Buffered())
	h, err := readHeader(g.in)
	if err != nil {
		return err
	}
	files, complete := g.bytes.claim(start, int(h.descriptors))
	h.files = files
	err = g.examine(h)
	if err == nil && !complete {
		err = tooMuch("descriptors of the call got lost: at most %d are taken, and the daemon may have too many files open",
			maxDescriptors)
	}
	if err != nil {
		g.current = h
		if err := discard(g.in, h.body); err != nil {
			return err
		}
		g.refuse(h, err)
		return nil
	}
	body := make([]byte, h.body)
	if _, err := io.ReadFull(g.in, body); err != nil {
		g.bytes.closing.close(h.files)
		return err
	}
	signature := h.texts[godbus.FieldSignature]
	if h.typ == godbus.TypeMethodCall && !callSignatures()[signature] {
		g.pass(h, "", nil) // no method takes it, and its answer says so
		return nil
	}
	if err := checkBody(h.order, signature, body); err != nil {
		g.refuse(h, err)
		return nil
	}
	g.pass(h, signature, body)
	return nil
}

// examine says why a message must not be passed on, as far as its header tells.
func (g *gate) examine(h *header) error {
	switch {
	case h.typ < godbus.TypeMethodCall || h.typ > godbus.TypeSignal:
		return errors.New("unknown type of message")
	case h.typ == godbus.TypeSignal && h.texts[godbus.FieldSender] != busInterface:
		return errors.New("the server listens to the bus only")
	case h.size > maxCall:
		return tooMuch("the message has %d bytes; at most %d are taken", h.size, maxCall)
	case h.unusable:
		return tooMuch("the header of the message is longer than %d bytes, or malformed", maxHeader)
	case h.typ != godbus.TypeMethodCall:
		return nil
	case h.descriptors > maxDescriptors:
		return tooMuch("the call brings %d descriptors; at most %d are taken", h.descriptors, maxDescriptors)
	case h.texts[godbus.FieldPath] == "":
		return tooMuch("the path of the object is longer than %d bytes", maxPath)
	}
	sender := h.texts[godbus.FieldSender]
	if err := g.unanswered(callKey{sender, h.serial}); err != nil {
		return err
	}
	return g.admit(sender, h.cost())
}

// refuse answers for a message that is not passed on. For an answer that the server waits for, its
// refusal is passed on.
func (g *gate) refuse(h *header, reason error) {
	var known *godbus.Error
	if !errors.As(reason, &known) {
		return
	}
	switch h.typ {
	case godbus.TypeMethodCall:
		g.refused()
	case godbus.TypeMethodReply, godbus.TypeError:
		answer := *h
		answer.typ, answer.texts[godbus.FieldErrorName] = godbus.TypeError, known.Name
		g.pass(&answer, "", nil)
	}
	if h.wantsReply() {
		g.out.add(h.refusal(g.serial(), known.Name, known.Error()))
	}
}

// pass makes a message with the given body the one that godbus reads next.
func (g *gate) pass(h *header, signature string, body []byte) {
	passed := *h
	passed.texts[godbus.FieldSignature] = signature
	g.current, g.message = h, passed.appendTo(nil, body)
}

// Write implements io.Writer for godbus, which writes each message at once. The bus would end the
// connection for a message that is too large: it is not written. Who waits for it gets an error.
func (g *gate) Write(p []byte) (int, error) {
	if !g.begun {
		return g.shake(p)
	}
	if len(p) <= maxMessage {
		return g.out.write(p)
	}
	h, err := readHeader(bufio.NewReader(bytes.NewReader(p)))
	if err != nil {
		return 0, fmt.Errorf("read the header of a message to send: %w", err)
	}
	reason := tooMuch("the answer has %d bytes; at most %d are sent", len(p), maxMessage)
	switch h.typ {
	case godbus.TypeMethodCall:
		return 0, reason
	case godbus.TypeSignal:
		g.log.Warnf("cannot emit the signal %s of %s: it has %d bytes; at most %d are sent",
			h.texts[godbus.FieldMember], h.texts[godbus.FieldPath], len(p), maxMessage)
		return len(p), nil
	}
	question := header{order: h.order, serial: h.replySerial}
	question.texts[godbus.FieldSender] = h.texts[godbus.FieldDestination]
	refusal := question.refusal(h.serial, errLimitsExceeded, reason.Error())
	if _, err := g.out.write(refusal); err != nil {
		return 0, err
	}
	return len(p), nil
}

// shake writes a line of the handshake. Before the last one it asks the bus for descriptors; godbus
// cannot ask for a socket that it does not know. A bus that refuses sends none, and answers for
// calls that bring some.
func (g *gate) shake(line []byte) (int, error) {
	if !bytes.Equal(line, beginLine) {
		return g.socket.Write(line)
	}
	if _, err := g.socket.Write(askForDescriptors); err != nil {
		return 0, err
	}
	if _, err := g.in.ReadSlice('\n'); err != nil {
		return 0, fmt.Errorf("ask the bus for descriptors: %w", err)
	}
	g.begun = true
	return g.socket.Write(line)
}

// callSignatures are the signatures of the arguments of all methods.
var callSignatures = sync.OnceValue(func() map[string]bool {
	signatures := make(map[string]bool)
	for _, spec := range interfaceSpecs() {
		for _, method := range spec.Methods {
			signature, _ := spec.signature(method.Name)
			signatures[signature] = true
		}
	}
	return signatures
})
