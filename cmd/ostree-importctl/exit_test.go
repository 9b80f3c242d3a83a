package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/ostree-importd/ostree-importd/cmd/internal/stdout"
	"github.com/ostree-importd/ostree-importd/importer"
)

func TestExitCode(t *testing.T) {
	kind := func(kind importer.Kind) error {
		return fmt.Errorf("pull: %w", &importer.Error{Kind: kind, Err: errors.New("reason")})
	}
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"any other error", errors.New("reason"), 1},
		{"damaged layer", kind(importer.KindDigestMismatch), 1},
		{"network", kind(importer.KindNetwork), 1},
		{"no repository", kind(importer.KindNotAvailable), 1},
		{"usage", usageError{errors.New("reason")}, 2},
		{"wrapped usage", fmt.Errorf("x: %w", usageError{errors.New("reason")}), 2},
		{"unreadable reference", kind(importer.KindInvalidReference), 2},
		{"unknown option", kind(importer.KindInvalidOption), 2},
		{"image not stored", kind(importer.KindNoSuchImage), 3},
		{"image not at the source", kind(importer.KindReferenceNotFound), 3},
		{"no such job", kind(importer.KindNoSuchJob), 3},
		{"policy", kind(importer.KindSignatureRejected), 4},
		{"polkit", kind(importer.KindAccessDenied), 4},
		{"credentials", kind(importer.KindRegistryUnauthorized), 4},
		{"unexpected digest", kind(importer.KindManifestMismatch), 4},
		{"not bootable", kind(importer.KindNotBootable), 4},
		{"architecture", kind(importer.KindWrongArchitecture), 4},
		{"offline", kind(importer.KindOffline), 4},
		{"image in use", kind(importer.KindImageInUse), 4},
		{"not encapsulated", kind(importer.KindNotEncapsulated), 1},
		{"image could not be read", uncheckedError{errors.New("reason")}, 5},
		{"nothing new", errNothingNew, 77},
		{"full disk below standard output", &stdout.Error{Err: syscall.ENOSPC}, 1},
		{"job canceled", kind(importer.KindCanceled), 130},
		{"interrupted", context.Canceled, 130},
		{"interrupted, and the job's own end", errors.Join(context.Canceled, kind(importer.KindFailed)), 130},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := exitCode(test.err); got != test.want {
				t.Errorf("exit code %d, want %d", got, test.want)
			}
		})
	}
}
