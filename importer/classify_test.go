package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/merge"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

func TestTimestamp(t *testing.T) {
	cases := []struct {
		name               string
		annotation, config string
		want               uint64
		ignored            []string
	}{
		{"none", "", "", 0, nil},
		{"config", "", "2026-01-02T03:04:05.9Z", 1767323045, nil},
		{"annotation first", "2026-01-02T03:04:06+01:00", "2020-01-01T00:00:00Z", 1767319446, nil},
		{"bad annotation", "yesterday", "2026-01-02T03:04:05Z", 1767323045, []string{"yesterday"}},
		{"both bad", "1", "2", 0, []string{"1", "2"}},
		{"before 1970", "1901-01-01T00:00:00Z", "", 0, nil},
		{"year 1", "", "0001-01-01T00:00:00Z", 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := &ocispec.Manifest{Annotations: map[string]string{ocispec.AnnotationCreated: c.annotation}}
			created, ignored := document.Created(m, &document.Config{Created: c.config})
			plan := Plan{Created: created}
			if got := plan.timestamp(nil); got != c.want || !slices.Equal(ignored, c.ignored) {
				t.Errorf("timestamp %d ignoring %q, want %d ignoring %q", got, ignored, c.want, c.ignored)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	cases := []struct {
		name  string
		stage Stage
		err   error
		kind  Kind
		text  string
	}{
		{"canceled", StageFetch, fmt.Errorf("read: %w", context.Canceled), KindCanceled, "fetch: read: context canceled"},
		{"no space", StageLayer, fmt.Errorf("write: %w", ostreerepo.ErrNoSpace), KindNoSpace, ""},
		{"read-only", StageLayer, ostreerepo.ErrReadOnly, KindReadOnly, ""},
		{"no command", StageLand, ostreerepo.ErrToolMissing, KindToolFailed, ""},
		{"failing command", StageLand, fmt.Errorf("land: %w", &command.Error{ExitCode: 1}), KindToolFailed, ""},
		{"an attribute that is not kept", StageLand, fmt.Errorf("land: %w", ostreerepo.ErrNotKept), KindRepository,
			"land: land: the repository's file system does not keep what the file was given; " +
				"a repository of mode bare-user or archive keeps it"},
		{"an object that no repository takes", StageLayer, fmt.Errorf("write: %w", ostreerepo.ErrInvalid), KindUnsupportedImage, ""},
		{"no repository", StageInventory, ostreerepo.ErrNotRepository, KindNotAvailable, ""},
		{"damaged", StageMerge, ostreerepo.ErrCorrupted, KindCorrupted, ""},
		{"entry", StageLayer, fmt.Errorf("read: %w", &layertar.EntryError{Entry: `"a"`, Err: errors.New("it is odd")}), KindUnsupportedImage, `layer: entry "a": it is odd`},
		{
			"special file", StageLayer, &layertar.EntryError{Entry: `"a"`, Err: layertar.ErrUnsupportedEntry}, KindUnsupportedImage,
			`layer: entry "a": ` + layertar.ErrUnsupportedEntry.Error() + `; --drop-special-files leaves devices, fifos and sockets out`,
		},
		{"entry that can't be written", StageLayer, &layertar.EntryError{Entry: `"a"`, Err: ostreerepo.ErrNoSpace}, KindNoSpace, ""},
		{"layer of a merge", StageMerge, &merge.LayerError{Index: 2, Err: errors.New("odd")}, KindRepository, "merge: layer 2/0: odd"},
		{
			"error of a source", StageLayer, fmt.Errorf("read the blob: %w", &Error{Kind: KindNetwork, Retryable: true, Err: errors.New("reset"), Hint: "try later"}),
			KindNetwork, "layer: reset; try later",
		},
		{"error of a source without a cause", StageOpen, &Error{Kind: KindNetwork}, KindNetwork, "open: Network"},
		{"anything", StageOpen, errors.New("odd"), KindFailed, "open: odd"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := classify(c.stage, c.err)
			if e.Kind != c.kind || c.text != "" && e.Error() != c.text {
				t.Errorf("kind %s, text %q; want kind %s, text %q", e.Kind, e.Error(), c.kind, c.text)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{
		Kind: KindUnsupportedImage, Stage: StageLayer, Layer: "sha256:abcdef123456789", LayerIndex: 2, LayerCount: 5,
		Entry: `"usr/x"`, Err: errors.New("the cause"), Hint: "what to do",
	}
	if got, want := e.Error(), `layer: layer 2/5 sha256:abcdef123456: entry "usr/x": the cause; what to do`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := KindOf(fmt.Errorf("job: %w", e)); got != KindUnsupportedImage {
		t.Errorf("kind %s", got)
	}
	if KindOf(nil) != "" || KindOf(errors.New("odd")) != KindFailed {
		t.Error("KindOf of nil or of another error")
	}
}

func TestBackOff(t *testing.T) {
	for attempt, limits := range map[int][2]time.Duration{
		1:           {250 * time.Millisecond, 500 * time.Millisecond},
		2:           {500 * time.Millisecond, time.Second},
		maxAttempts: {4 * time.Second, 8 * time.Second},
		9:           {maxDelay / 2, maxDelay},
	} {
		if got := backOff(attempt); got < limits[0] || got > limits[1] {
			t.Errorf("attempt %d: %v, want between %v and %v", attempt, got, limits[0], limits[1])
		}
	}
}
