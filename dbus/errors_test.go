package dbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

func TestErrorsComeBackWithTheirKind(t *testing.T) {
	for _, kind := range append(importerKinds(t), importer.KindAccessDenied) {
		sent := &importer.Error{Kind: kind, Stage: importer.StageFetch, LayerIndex: 1, LayerCount: 2, Err: errors.New("cause")}
		reply := toBusError(fmt.Errorf("around: %w", sent))
		got := fromCallError(*reply)
		if importer.KindOf(got) != kind || !strings.HasPrefix(got.Error(), "around: fetch: layer 1/2: cause") {
			t.Errorf("%s comes back as %s: %v", reply.Name, importer.KindOf(got), got)
		}
	}
	if reply := toBusError(errors.New("anything")); reply.Name != errorPrefix+"Failed" {
		t.Errorf("an error without a kind is %s", reply.Name)
	}
	if reply := toBusError(standardError(errUnknownObject, "x")); reply.Name != errUnknownObject {
		t.Errorf("a standard error is %s", reply.Name)
	}
}

func TestErrorsOfTheBus(t *testing.T) {
	tests := map[string]struct {
		err  error
		kind importer.Kind
	}{
		"denied":               {godbus.Error{Name: errAccessDenied}, importer.KindAccessDenied},
		"a password is needed": {godbus.Error{Name: errInteractionRequired}, importer.KindAccessDenied},
		"no such service":      {godbus.Error{Name: errServiceUnknown}, importer.KindNotAvailable},
		"nobody owns it":       {godbus.Error{Name: errNameHasNoOwner}, importer.KindNotAvailable},
		"unit failed":          {godbus.Error{Name: errNameHasNoOwner, Body: []any{brokerRefusal + "."}}, importer.KindNotAvailable},
		"no start in time":     {godbus.Error{Name: errTimedOut}, importer.KindNotAvailable},
		"no start":             {godbus.Error{Name: "org.freedesktop.DBus.Error.Spawn.ChildExited"}, importer.KindNotAvailable},
		"masked unit":          {godbus.Error{Name: "org.freedesktop.systemd1.UnitMasked"}, importer.KindNotAvailable},
		"died in the call":     {godbus.Error{Name: errNoReply}, importer.KindInterrupted},
		"wrong arguments":      {godbus.Error{Name: errInvalidArgs}, importer.KindInvalidOption},
		"too much":             {godbus.Error{Name: errLimitsExceeded}, importer.KindLimitsExceeded},
		"anything else":        {godbus.Error{Name: "com.example.Error", Body: []any{3}}, importer.KindFailed},
		"connection closed":    {godbus.ErrClosed, importer.KindNotAvailable},
		"no answer":            {context.DeadlineExceeded, importer.KindTimeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := fromCallError(test.err)
			if importer.KindOf(got) != test.kind || got.Error() == "" {
				t.Errorf("%s: %v, want %s", importer.KindOf(got), got, test.kind)
			}
		})
	}
	if got := fromCallError(context.Canceled); !errors.Is(got, context.Canceled) {
		t.Errorf("the caller's own end is %v", got)
	}
	if got := fromCallError(nil); got != nil {
		t.Errorf("no error is %v", got)
	}
}

func TestTextsFitOnTheBus(t *testing.T) {
	for name, text := range map[string]string{
		"long":          strings.Repeat("ä", maxErrorMessage),
		"no UTF-8":      "a\xff\xfeb",
		"with a NUL":    "a\x00b",
		"short":         "a",
		"cut in a rune": "x" + strings.Repeat("ä", maxErrorMessage),
	} {
		got := busText(text)
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > maxErrorMessage+10 {
			t.Errorf("%s: %d bytes, valid %v", name, len(got), utf8.ValidString(got))
		}
	}
}

func TestJobErrors(t *testing.T) {
	if err := jobError(daemon.JobStatus{Result: daemon.ResultDone}); err != nil {
		t.Errorf("a job that is done: %v", err)
	}
	err := jobError(daemon.JobStatus{Result: daemon.ResultFailed, ErrorKind: importer.KindNetwork, ErrorMessage: "fetch: broke off"})
	if importer.KindOf(err) != importer.KindNetwork || err.Error() != "fetch: broke off" {
		t.Errorf("a job that failed: %s %v", importer.KindOf(err), err)
	}
}
