package main

import (
	"context"
	"errors"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Exit codes; the manual page lists them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotFound   = 3
	exitRefused    = 4
	exitUnchecked  = 5
	exitNothingNew = 77
	exitCanceled   = 130
)

// errNothingNew ends `prepare --check` when a pull would change nothing, and `pull --check-changed`
// when it has changed nothing. It is an answer, not a failure: nothing is printed.
var errNothingNew = errors.New("nothing new")

// interruptedError ends a verb at Ctrl-C, and says what becomes of its job.
type interruptedError struct{ text string }

func (e interruptedError) Error() string { return e.text }

// Is makes it a cancellation.
func (e interruptedError) Is(target error) bool { return target == context.Canceled }

// uncheckedError ends `verify` when an image could not be checked, and none is known to be damaged.
type uncheckedError struct{ error }

// usageError is a command line that can't be acted on.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode maps an error to the exit code of the manual page.
func exitCode(err error) int {
	var usage usageError
	var unchecked uncheckedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unchecked):
		return exitUnchecked
	case errors.Is(err, errNothingNew):
		return exitNothingNew
	case errors.Is(err, context.Canceled):
		return exitCanceled
	}
	switch importer.KindOf(err) {
	case importer.KindInvalidReference, importer.KindInvalidOption:
		return exitUsage
	case importer.KindNoSuchImage, importer.KindNoSuchJob, importer.KindNoSuchPrepared, importer.KindReferenceNotFound:
		return exitNotFound
	case importer.KindSignatureRejected, importer.KindManifestMismatch, importer.KindRegistryUnauthorized, importer.KindAccessDenied,
		importer.KindNotBootable, importer.KindWrongArchitecture, importer.KindOffline, importer.KindImageInUse:
		return exitRefused
	case importer.KindCanceled:
		return exitCanceled
	}
	return exitFailed
}
