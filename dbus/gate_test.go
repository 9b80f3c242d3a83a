package dbus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"
)

// hostileBody is the body of a call that no honest program sends.
type hostileBody struct {
	member, signature string
	write             func(w *bodyWriter)
	want              string // the error's name
}

// fill writes nested variants until the body has a size.
func fill(w *bodyWriter, size int) {
	for len(w.raw) < size {
		w.variants(50)
	}
}

const largest = 31 << 20 // bytes of a body that the bus lets through

// hugeBodies are larger than any call.
var hugeBodies = map[string]hostileBody{
	"nested variants for a method that takes none": {"ListJobs", "av", func(w *bodyWriter) {
		w.list(1, func() { fill(w, largest) })
	}, errLimitsExceeded},
	"nested variants in an option": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("wait", "av", func() { w.list(1, func() { fill(w, largest) }) })
	}, errLimitsExceeded},
	"a large image": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text(strings.Repeat("x", largest)).list(8, func() {})
	}, errLimitsExceeded},
	"many images": {"RemoveImages", "asa{sv}", func(w *bodyWriter) {
		w.list(4, func() {
			for len(w.raw) < largest {
				w.text("")
			}
		}).list(8, func() {})
	}, errLimitsExceeded},
	"just more than a call": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text(strings.Repeat("x", maxCall)).list(8, func() {})
	}, errLimitsExceeded},
}

var hostileBodies = map[string]hostileBody{
	"a long image": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://"+strings.Repeat("x", maxText)).list(8, func() {})
	}, errLimitsExceeded},
	"a long text for GetImage": {"GetImage", "s", func(w *bodyWriter) { w.text(strings.Repeat("x", maxText+1)) }, errLimitsExceeded},
	"the longest text": {"GetImage", "s", func(w *bodyWriter) {
		w.text("docker://" + strings.Repeat("x", maxText-9))
	}, errorPrefix + "InvalidReference"},
	"a long name of an option": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options(strings.Repeat("x", maxText+1), "b", func() { w.uint32(1) })
	}, errLimitsExceeded},
	"a long value": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("authfile", "s", func() { w.text("/" + strings.Repeat("x", maxText)) })
	}, errLimitsExceeded},
	"a long label": {"Encapsulate", "ssa{sv}", func(w *bodyWriter) {
		w.text("os").text("oci:/srv/x").options("labels", "a{ss}", func() {
			w.list(8, func() { w.text("a").text(strings.Repeat("x", maxText+1)) })
		})
	}, errLimitsExceeded},
	"as many images as are taken": {"Verify", "asa{sv}", func(w *bodyWriter) {
		w.list(4, func() {
			for range maxEntries {
				w.text("docker://example.com/x")
			}
		}).list(8, func() {})
	}, errAccessDenied},
	"one image more": {"Verify", "asa{sv}", func(w *bodyWriter) {
		w.list(4, func() {
			for range maxEntries + 1 {
				w.text("docker://example.com/x")
			}
		}).list(8, func() {})
	}, errLimitsExceeded},
	"many options": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").list(8, func() {
			for range maxEntries + 1 {
				w.align(8)
				w.text("wait").signature("b").uint32(1)
			}
		})
	}, errLimitsExceeded},
	"many values": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("wait", "aay", func() {
			w.list(4, func() {
				for range 100 {
					w.list(1, func() { w.raw = append(w.raw, make([]byte, 100)...) })
				}
			})
		})
	}, errLimitsExceeded},
	"variants deeper than godbus goes": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("wait", "v", func() { w.variants(60) })
	}, errLimitsExceeded},
	"variants in a property": {"", "ssv", func(w *bodyWriter) {
		w.text(logControlInterface).text("LogLevel")
		w.variants(60)
	}, errLimitsExceeded},
	"lists in lists": {"Import", "sa{sv}", func(w *bodyWriter) {
		signature := strings.Repeat("a", 30) + "y"
		w.text("docker://example.com/x").options("wait", signature, func() { w.uint32(0) })
	}, errLimitsExceeded},
	"keys of maps that godbus does not take": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("wait", "a{by}", func() { w.list(8, func() {}) })
	}, errInvalidArgs},
	"a structure as an option": {"Import", "sa{sv}", func(w *bodyWriter) {
		w.text("docker://example.com/x").options("wait", "(uu)", func() { w.align(8); w.uint32(1).uint32(2) })
	}, errorPrefix + "InvalidOption"},
	"labels of another type": {"Encapsulate", "ssa{sv}", func(w *bodyWriter) {
		w.text("os").text("oci:/srv/x").options("labels", "a{su}", func() { w.list(8, func() { w.text("a").uint32(1) }) })
	}, errorPrefix + "InvalidOption"},
	"arguments that no method takes": {"ListJobs", "(ss)", func(w *bodyWriter) { w.text("a").text("b") }, errInvalidArgs},
}

// TestHostileCalls: who may do nothing sends what no program sends. It costs no more than reading
// it, and the daemon lives on.
func TestHostileCalls(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	honest := s.connect(t)
	tests := maps.Clone(hostileBodies)
	maps.Copy(tests, hugeBodies)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := s.connectRawAs(t, nobody)
			var w bodyWriter
			test.write(&w)
			h := c.header(managerInterface, test.member)
			if test.member == "" {
				h = c.header(propertiesInterface, "Set")
				h.texts[godbus.FieldPath] = string(logControlPath)
			}
			h.texts[godbus.FieldSignature] = test.signature
			raw := h.appendTo(nil, w.raw)
			allocated := allocatedBy(func() {
				c.write(t, raw)
				if got, text := errorOf(c.answer(t, h.serial)); got != test.want || len(text) > 2*maxErrorMessage {
					t.Errorf("answered with %s: %.200s, want %s", got, text, test.want)
				}
			})
			if allocated > 32<<20 {
				t.Errorf("it took %d MiB of memory", allocated>>20)
			}
		})
	}
	if err := s.manage(honest, "ListJobs").Err; err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
}

// allocatedBy is how many bytes the process allocates while fn runs.
func allocatedBy(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileHeaders: what is too large or malformed in a header is refused, or not noticed, and
// nobody's connection ends.
func TestHostileHeaders(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	honest := s.connect(t)
	body := (&bodyWriter{}).text(strings.Repeat("x", largest)).raw
	tests := map[string]struct {
		change func(h *header)
		body   []byte
		want   string // "" for no answer
	}{
		"long path": {func(h *header) { h.texts[godbus.FieldPath] = "/" + strings.Repeat("x", maxPath) }, nil, errLimitsExceeded},
		"huge path": {func(h *header) { h.texts[godbus.FieldPath] = "/" + strings.Repeat("x", largest) }, nil, errLimitsExceeded},
		"longest path": {func(h *header) {
			h.texts[godbus.FieldPath] = "/" + strings.Repeat("x", maxPath-1)
		}, nil, errUnknownObject},
		"long signature": {func(h *header) { h.texts[godbus.FieldSignature] = strings.Repeat("y", 255) },
			make([]byte, 255), errInvalidArgs},
		"huge call without an answer": {func(h *header) {
			h.flags, h.texts[godbus.FieldSignature] = godbus.FlagNoReplyExpected, "s"
		}, body, ""},
		"unknown flags": {func(h *header) { h.flags = 0xf8 }, nil, "a reply"},
		"huge signal":   {func(h *header) { h.typ, h.texts[godbus.FieldSignature] = godbus.TypeSignal, "s" }, body, ""},
		"signal":        {func(h *header) { h.typ = godbus.TypeSignal }, nil, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := s.connectRawAs(t, nobody)
			h := c.header(managerInterface, "ListJobs")
			test.change(h)
			raw := h.appendTo(nil, test.body)
			allocated := allocatedBy(func() {
				c.write(t, raw)
				if test.want != "" {
					if got, text := errorOf(c.answer(t, h.serial)); got != test.want {
						t.Errorf("answered with %s: %.200s, want %s", got, text, test.want)
					}
				}
				probe := c.header(peerInterface, "Ping")
				c.write(t, probe.appendTo(nil, nil))
				if got, text := errorOf(c.answer(t, probe.serial)); got != "a reply" {
					t.Errorf("a call after it is answered with %s: %s", got, text)
				}
			})
			if allocated > 32<<20 {
				t.Errorf("it took %d MiB of memory", allocated>>20)
			}
		})
	}
	if err := s.manage(honest, "ListJobs").Err; err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
}

// TestAnswersLargerThanTheBusTakes: they become errors, and the connection lives on.
func TestAnswersLargerThanTheBusTakes(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	large := strings.Repeat("x", 40<<20)
	s.replace("DescribeJobs", func(*call) ([]any, error) { return []any{large}, nil })
	s.replace("DescribeImages", func(c *call) ([]any, error) {
		err := checkPolkit(c.ctx, s.server.conn, c.key.sender, actionPrune, map[string]string{"scope": large}, false)
		return nil, err
	})
	conn := s.connect(t)
	wantErrorName(t, s.manage(conn, "DescribeJobs").Err, errLimitsExceeded)
	wantErrorName(t, s.manage(conn, "DescribeImages").Err, errAccessDenied)
	s.server.emit(rootPath, managerInterface+".ImagesChanged", large)
	if err := s.manage(conn, "ListJobs").Err; err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
	if pending, _ := s.server.calls.state(); pending > 1 {
		t.Errorf("%d calls are counted as unanswered", pending)
	}
}

// memorySocket is a socket whose other side is in memory.
type memorySocket struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *memorySocket) Read(p []byte) (int, error)     { return s.in.Read(p) }
func (s *memorySocket) Write(p []byte) (int, error)    { return s.out.Write(p) }
func (*memorySocket) SetWriteDeadline(time.Time) error { return nil }
func (*memorySocket) Close() error                     { return nil }

// testGate reads messages from raw.
func testGate(raw []byte) (*gate, *memorySocket) {
	socket := &memorySocket{in: bytes.NewReader(raw)}
	turns := newTurns(func(string) (uint32, error) { return 0, nil })
	g := newGate(socket, newCallTracker(), turns, logrus.New())
	g.begun = true
	return g, socket
}

// TestRefusedAnswers: who waits for an answer that is too large gets an error.
func TestRefusedAnswers(t *testing.T) {
	for name, order := range map[string]byteOrder{"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			h := &header{order: order, typ: godbus.TypeMethodReply, serial: 3, replySerial: 7}
			h.texts[godbus.FieldSender] = ":1.5"
			h.texts[godbus.FieldSignature] = "s"
			g, _ := testGate(h.appendTo(nil, make([]byte, maxCall)))
			msg, err := godbus.DecodeMessage(g)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := errorOf(msg); got != errLimitsExceeded || msg.Headers[godbus.FieldReplySerial].Value() != uint32(7) {
				t.Errorf("%s for %v", got, msg.Headers)
			}
		})
	}
}

// FuzzGate: what passes the gate never ends the connection, which godbus does for everything but an
// InvalidMessageError.
func FuzzGate(f *testing.F) {
	c := &rawConn{}
	for _, test := range hostileBodies {
		var w bodyWriter
		test.write(&w)
		h := c.header(managerInterface, test.member)
		h.texts[godbus.FieldSignature] = test.signature
		h.texts[godbus.FieldSender] = ":1.5"
		f.Add(h.appendTo(nil, w.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, socket := testGate(raw)
		for g.next() == nil {
			if g.message == nil {
				continue
			}
			_, err := godbus.DecodeMessage(bytes.NewReader(g.message))
			var invalid godbus.InvalidMessageError
			if err != nil && !errors.As(err, &invalid) {
				t.Fatalf("godbus ends the connection: %v", err)
			}
			g.message = nil
		}
		g.Close()
		for answers := bufio.NewReader(&socket.out); ; {
			if _, err := godbus.DecodeMessage(answers); err != nil {
				var invalid godbus.InvalidMessageError
				if errors.Is(err, io.EOF) {
					return
				}
				if !errors.As(err, &invalid) {
					t.Fatalf("an answer of the gate: %v", err)
				}
			}
		}
	})
}
