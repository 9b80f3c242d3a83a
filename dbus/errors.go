package dbus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// errorPrefix and an importer.Kind make the name of an error of ours.
const errorPrefix = BusName + ".Error."

// The standard errors that the server answers with.
const (
	errAccessDenied        = "org.freedesktop.DBus.Error.AccessDenied"
	errInteractionRequired = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
	errInvalidArgs         = "org.freedesktop.DBus.Error.InvalidArgs"
	errUnknownObject       = "org.freedesktop.DBus.Error.UnknownObject"
	errUnknownInterface    = "org.freedesktop.DBus.Error.UnknownInterface"
	errUnknownMethod       = "org.freedesktop.DBus.Error.UnknownMethod"
	errUnknownProperty     = "org.freedesktop.DBus.Error.UnknownProperty"
	errPropertyReadOnly    = "org.freedesktop.DBus.Error.PropertyReadOnly"
	errLimitsExceeded      = "org.freedesktop.DBus.Error.LimitsExceeded"
	errServiceUnknown      = "org.freedesktop.DBus.Error.ServiceUnknown"
	errNameHasNoOwner      = "org.freedesktop.DBus.Error.NameHasNoOwner"
	errNoReply             = "org.freedesktop.DBus.Error.NoReply"
	errTimedOut            = "org.freedesktop.DBus.Error.TimedOut"
	errSpawnPrefix         = "org.freedesktop.DBus.Error.Spawn."
	errSystemdPrefix       = "org.freedesktop.systemd1."
)

// kindUnknownObject never leaves the client: the caller of a method knows what kind of object it
// asked for.
const kindUnknownObject importer.Kind = "UnknownObject"

// standardError is an error with one of the names above.
func standardError(name, format string, args ...any) error {
	return godbus.NewError(name, []any{fmt.Sprintf(format, args...)})
}

// tooMuch is the error of what is larger, or more, than is taken.
func tooMuch(format string, args ...any) error {
	return standardError(errLimitsExceeded, format, args...)
}

// errorName is the D-Bus name of a kind of failure; "" for no failure.
func errorName(kind importer.Kind) string {
	switch kind {
	case "":
		return ""
	case importer.KindAccessDenied:
		return errAccessDenied
	case importer.KindLimitsExceeded:
		return errLimitsExceeded
	}
	return errorPrefix + string(kind)
}

// toBusError is the answer that err becomes. The message carries the cause, since many callers see
// nothing else.
func toBusError(err error) *godbus.Error {
	var standard *godbus.Error
	if errors.As(err, &standard) {
		return godbus.NewError(standard.Name, []any{busText(standard.Error())})
	}
	return godbus.NewError(errorName(importer.KindOf(err)), []any{busText(err.Error())})
}

// busText makes any text one that a D-Bus string can hold: an invalid one would end the connection.
func busText(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "�")
	if len(text) > maxErrorMessage {
		text = strings.ToValidUTF8(text[:maxErrorMessage], "") + " …"
	}
	return text
}

// jobError is the failure that a finished job ended with, or nil.
func jobError(status daemon.JobStatus) error {
	if status.Result == daemon.ResultDone {
		return nil
	}
	return &importer.Error{Kind: status.ErrorKind, Err: errors.New(status.ErrorMessage)}
}

// fromCallError is the inverse of toBusError for a call's error, and gives the failures of the bus
// itself a kind.
func fromCallError(err error) error {
	if err == nil {
		return nil
	}
	var reply godbus.Error
	if !errors.As(err, &reply) {
		if errors.Is(err, context.Canceled) {
			return err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return &importer.Error{Kind: importer.KindTimeout, Err: fmt.Errorf("the daemon does not answer: %w", err)}
		}
		return &importer.Error{
			Kind: importer.KindNotAvailable,
			Err:  fmt.Errorf("the connection to the bus was lost: %w", err),
		}
	}
	message := "the daemon gave no reason"
	if len(reply.Body) > 0 {
		if text, isText := reply.Body[0].(string); isText && text != "" {
			message = text
		}
	}
	kind, hint := kindOfReply(reply.Name)
	if failedToStart(err) {
		hint = "the daemon could not be started; see its log"
	}
	return &importer.Error{Kind: kind, Hint: hint, Err: errors.New(message)}
}

// kindOfReply is the kind that an error's name stands for, and what a person can do about it.
func kindOfReply(name string) (kind importer.Kind, hint string) {
	if ours, isOurs := strings.CutPrefix(name, errorPrefix); isOurs {
		return importer.Kind(ours), ""
	}
	switch name {
	case errAccessDenied, errInteractionRequired:
		return importer.KindAccessDenied, "run it as root, or have polkit allow it"
	case errInvalidArgs:
		return importer.KindInvalidOption, ""
	case errLimitsExceeded:
		return importer.KindLimitsExceeded, "ask for less, or wait for answers before asking again"
	case errUnknownObject:
		return kindUnknownObject, ""
	case errServiceUnknown, errNameHasNoOwner:
		return importer.KindNotAvailable, "no ostree-importd is installed for this bus"
	case errNoReply:
		return importer.KindInterrupted, "the daemon went away; see its log, and run the same again to go on"
	case errTimedOut:
		return importer.KindNotAvailable, "the daemon did not start in time; see its log"
	}
	if strings.HasPrefix(name, errSpawnPrefix) || strings.HasPrefix(name, errSystemdPrefix) {
		return importer.KindNotAvailable, "the daemon could not be started; see its log"
	}
	return importer.KindFailed, ""
}
