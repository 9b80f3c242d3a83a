package proxyclient

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// Class says what kind of fault an [Error] is, so that a caller can branch on
// it without reading texts.
type Class string

// The classes of errors.
const (
	ClassOther        Class = "other"         // none of the others
	ClassNotFound     Class = "not-found"     // image, tag, repository or blob does not exist
	ClassUnauthorized Class = "unauthorized"  // credentials missing, wrong or not sufficient
	ClassPolicy       Class = "policy"        // the signature policy rejects the image, or can't be read
	ClassNetwork      Class = "network"       // connection, TLS, DNS or server trouble
	ClassTimeout      Class = "timeout"       // no answer, or no data, within the limit
	ClassIntegrity    Class = "integrity"     // size or digest is not what the descriptor says
	ClassToolMissing  Class = "tool-missing"  // the proxy command is not installed
	ClassChildDied    Class = "child-died"    // the proxy process ended or broke the protocol
	ClassUnsupported  Class = "unsupported"   // this proxy, or this kind of image, can't do that
	ClassCanceled     Class = "canceled"      // the caller's context ended, or the proxy was closed
	ClassNoSpace      Class = "no-space"      // the temporary directory's file system, or a quota, is full
	ClassReadOnly     Class = "read-only"     // the temporary directory's file system is read-only
	ClassTempDir      Class = "temp-dir"      // there is no directory for temporary directories
	ClassDescriptors  Class = "descriptors"   // this process, or the host, has no descriptor left
	ClassReference    Class = "reference"     // the reference is none that the proxy understands
	ClassConfig       Class = "configuration" // settings are wrong or contradict each other
)

// Error is the error of every function of this package.
type Error struct {
	Class   Class
	Op      string // protocol method, or the step that failed
	Message string // complete text for a person, without Op
	Stderr  string // the last of what the proxy wrote to its stderr, at most 8 KiB; may be empty
	Err     error  // cause; may be nil

	permanent bool // a ClassNetwork error that another try does not cure
}

func (e *Error) Error() string {
	if e.Op == "" {
		return e.Message
	}
	return e.Op + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable tells whether another try, with a new child and from byte 0, may
// succeed. An integrity error is worth one more try only: a second one means
// that the source itself is damaged.
func (e *Error) Retryable() bool {
	switch e.Class {
	case ClassTimeout, ClassIntegrity:
		return true
	case ClassNetwork:
		return !e.permanent
	case ClassChildDied:
		var ended *command.Error
		return errors.As(e.Err, &ended) && ended.Signal != 0 // which was not ours
	default:
		return false
	}
}

// PlainHTTP reports whether the source has answered without TLS where TLS was expected.
func (e *Error) PlainHTTP() bool {
	words := ownWords(e.Message)
	return e.Class == ClassNetwork &&
		(strings.Contains(words, "does not look like a TLS handshake") || strings.Contains(words, "server gave HTTP response to HTTPS client"))
}

// forOp returns the error as seen by the operation op.
func (e *Error) forOp(op string) *Error {
	own := *e
	own.Op = op
	return &own
}

// contextError makes the error of an ended context.
func contextError(op string, ctx context.Context) *Error {
	err := context.Cause(ctx)
	class := ClassCanceled
	if errors.Is(err, context.DeadlineExceeded) {
		class = ClassTimeout
	}
	return &Error{Class: class, Op: op, Message: err.Error(), Err: err}
}

// maxText bounds what is kept of a text that the proxy sent.
const maxText = 4096

// printable makes a text from outside fit for one line of a log.
func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
