package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/cmd/internal/stdout"
	"github.com/ostree-importd/ostree-importd/importer"
)

// closable is a buffer as standard output.
type closable struct{ bytes.Buffer }

func (*closable) Close() error { return nil }

// TestFailuresAreJSON: with --json a failure is the one document, however far the command line can
// be understood.
func TestFailuresAreJSON(t *testing.T) {
	for _, test := range []struct {
		args    string
		kind    importer.Kind
		message string
		code    int
	}{
		{"--json pull", importer.KindInvalidOption, "pull takes one argument, not 0", exitUsage},
		{"pull --frobnicate --json oci:/x", importer.KindInvalidOption, "unknown flag: --frobnicate", exitUsage},
		{"--json frobnicate", importer.KindInvalidOption, "unknown command", exitUsage},
		{"--json --local pull foo:", importer.KindInvalidReference, `"foo:"`, exitUsage},
		{"--json --local --repo=/none/at/all images", importer.KindNotAvailable, "/none/at/all", exitFailed},
		{"images --json --address=unix:path=/none/at/all", importer.KindNotAvailable, "--local", exitFailed},
		{"monitor --json --address=unix:path=/none/at/all", importer.KindNotAvailable, "--local", exitFailed},
		{"--json --local jobs", importer.KindInvalidOption, "can't be used with --local", exitUsage},
	} {
		t.Run(test.args, func(t *testing.T) {
			var out closable
			err := execute(t.Context(), strings.Fields(test.args), &out)
			if exitCode(err) != test.code {
				t.Errorf("error %v", err)
			}
			var got failure
			decoder := json.NewDecoder(&out)
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&got); err != nil || decoder.More() {
				t.Fatalf("printed %q: %v", out.String(), err)
			}
			report := got.Error
			if report.Kind != test.kind || report.ExitCode != test.code ||
				!strings.Contains(report.Message, test.message) {
				t.Errorf("reported %+v", report)
			}
		})
	}
}

func TestFailuresWithoutJSONPrintNothing(t *testing.T) {
	for _, args := range []string{"pull", "--json=false pull", "pull -- --json --json"} {
		var out closable
		if err := execute(t.Context(), strings.Fields(args), &out); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, printed %q", args, err, out.String())
		}
	}
}

func TestFailureAfterAResult(t *testing.T) {
	root := rootCommand()
	for name, want := range map[string]int{"verify": 1, "monitor": 2} {
		var file closable
		out := stdout.New(&file)
		fmt.Fprintln(out, "{}")
		printFailure(out, root, &cobra.Command{Use: name}, []string{"--json"}, errors.New("bad"))
		if lines := strings.Count(file.String(), "\n"); lines != want {
			t.Errorf("%s: printed %q", name, file.String())
		}
	}
	var file closable
	printFailure(stdout.New(&file), root, nil, []string{"--json"}, errNothingNew)
	if file.Len() > 0 {
		t.Errorf("an answer is reported as %q", file.String())
	}
}

func TestFailureTellsWhatIsKnown(t *testing.T) {
	err := &importer.Error{
		Kind: importer.KindDigestMismatch, Stage: importer.StageVerify, Layer: layer, LayerIndex: 2, LayerCount: 3,
		Entry: `"a"`, Hint: "ask again", Err: errors.New("other content"),
	}
	got, failed := json.Marshal(reportFailure(fmt.Errorf("pull: %w", err)))
	want := `{"error":{"kind":"DigestMismatch","message":` + quoted(t, "pull: "+err.Error()) +
		`,"stage":"verify","layer":"` + string(layer) + `","layer-index":2,"entry":"\"a\"","hint":"ask again","exit-code":1}}`
	if failed != nil || string(got) != want {
		t.Errorf("%s, %v, want\n%s", got, failed, want)
	}
	if kind := reportFailure(context.Canceled).Error.Kind; kind != importer.KindCanceled {
		t.Errorf("an interruption is of kind %s", kind)
	}
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
