package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/ostree-importd/ostree-importd/daemon"
)

// TestEventsAreOneLine: texts of jobs, which images and registries choose, do not reach the
// terminal as they are.
func TestEventsAreOneLine(t *testing.T) {
	const odd = "a\x1b[2J\nb\x07\u009bc"
	job := daemon.JobStatus{ID: 7, Image: "oci:/" + odd, StatusText: odd, Result: daemon.ResultFailed, ErrorMessage: odd}
	for _, event := range []daemon.Event{
		{Type: daemon.JobNew, Job: job},
		{Type: daemon.JobChanged, Job: job},
		{Type: daemon.JobFinished, Job: job},
		{Type: daemon.ImagesChanged, Images: daemon.ImageChanges{Added: []string{odd}}},
	} {
		var out bytes.Buffer
		if err := printEvent(&out, event, false); err != nil {
			t.Fatal(err)
		}
		line, end := strings.CutSuffix(out.String(), "\n")
		if !end || strings.ContainsFunc(line, unicode.IsControl) || !strings.Contains(line, "b") {
			t.Errorf("%s: %q", event.Type, out.String())
		}
	}
}
