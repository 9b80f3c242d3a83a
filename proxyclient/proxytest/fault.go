package proxytest

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"time"
)

// Fault is one thing that goes wrong when a method is called.
type Fault struct {
	Kind    Kind
	Method  string
	Message string // for Error and RawError
	Code    string // for Error and RawError
}

// Kind names what goes wrong.
type Kind string

// Faults of calls, in place of the reply.
const (
	Hang      Kind = "hang"      // no reply, ever
	Die       Kind = "die"       // exit with status 1 and a fatal message on stderr
	Quit      Kind = "quit"      // exit with status 0
	Kill      Kind = "kill"      // death by SIGKILL
	Error     Kind = "error"     // an error reply
	Garbage   Kind = "garbage"   // a reply that is not JSON
	Truncated Kind = "truncated" // the first half of a reply
	Huge      Kind = "huge"      // a reply of over 1 MiB
	Mute      Kind = "mute"      // the socket is shut, but the process lives on
	WrongType Kind = "wrong"     // a reply whose value has another type
	NoFDs     Kind = "no-fds"    // a reply without its descriptors
	ExtraFDs  Kind = "extra-fds" // a reply with five descriptors too many
	NoPipeID  Kind = "no-pipeid" // a reply with its descriptors but pipeid 0
	BothSides Kind = "both"      // success and an error text in one reply
)

// Faults of streams; the reply to the method is good.
const (
	Short    Kind = "short"     // the second half is missing
	Long     Kind = "long"      // one byte more than there should be
	Flip     Kind = "flip"      // one bit is wrong
	Stall    Kind = "stall"     // nothing after the first half
	Drip     Kind = "drip"      // a byte now and then, for ever
	Cut      Kind = "cut"       // death by SIGKILL after the first half
	NoEOF    Kind = "no-eof"    // the data never ends, though FinishPipe is replied to
	Flood    Kind = "flood"     // 1 MiB on stderr before the reply
	Bloat    Kind = "bloat"     // 20 MiB of spaces behind the data
	RawError Kind = "raw-error" // a fault on the error descriptor, after all data
	RawNoise Kind = "raw-noise" // what is no JSON on the error descriptor
)

// fault returns the fault to commit now, if any.
func (s *server) fault(method string) Fault {
	for _, f := range s.options.Faults {
		if f.Method != method {
			continue
		}
		if s.options.Once != "" {
			file, err := os.OpenFile(s.options.Once, os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return Fault{}
			}
			file.Close()
		}
		return f
	}
	return Fault{}
}

func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	hang()
}

func flood() {
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range 1024 {
		os.Stderr.Write(line)
	}
	os.Stderr.WriteString("end of the flood\n")
}

// drip writes a byte now and then, until nobody reads any more.
func drip(w io.Writer) {
	for {
		if _, err := w.Write([]byte{' '}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// damage returns the data as the fault makes it, and what to do after it.
func (f Fault) damage(data []byte) ([]byte, func()) {
	nothing := func() {}
	half := data[:len(data)/2]
	switch f.Kind {
	case Short:
		return half, nothing
	case Long:
		return append(bytes.Clone(data), '!'), nothing
	case Bloat:
		return append(bytes.Clone(data), bytes.Repeat([]byte(" "), 20<<20)...), nothing
	case Flip:
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		return data, nothing
	case Stall:
		return half, hang
	case Cut:
		return half, killSelf
	}
	return data, nothing
}
