package main

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/cmd/internal/stdout"
	"github.com/ostree-importd/ostree-importd/importer"
)

// failure is the document that --json prints where a verb fails before it has
// printed a result.
type failure struct {
	Error failureReport `json:"error"`
}

// failureReport tells what the message on standard error does. What is not
// known is left out; from the bus only kind and message are.
type failureReport struct {
	Kind       importer.Kind  `json:"kind"` // as the D-Bus errors are called
	Message    string         `json:"message"`
	Stage      importer.Stage `json:"stage,omitempty"`
	Layer      digest.Digest  `json:"layer,omitempty"`
	LayerIndex int            `json:"layer-index,omitempty"` // counted from 1
	Entry      string         `json:"entry,omitempty"`
	Hint       string         `json:"hint,omitempty"`
	ExitCode   int            `json:"exit-code"`
}

func reportFailure(err error) failure {
	report := failureReport{Kind: failureKind(err), Message: err.Error(), ExitCode: exitCode(err)}
	var known *importer.Error
	if errors.As(err, &known) {
		report.Stage, report.Layer, report.LayerIndex = known.Stage, known.Layer, known.LayerIndex
		report.Entry, report.Hint = known.Entry, known.Hint
	}
	return failure{report}
}

// failureKind is the kind of an error, also of one that is the command's own.
func failureKind(err error) importer.Kind {
	kind := importer.KindOf(err)
	switch {
	case kind != importer.KindFailed:
	case errors.As(err, new(usageError)):
		return importer.KindInvalidOption
	case errors.Is(err, context.Canceled):
		return importer.KindCanceled
	}
	return kind
}

// printFailure prints an error as JSON if --json was given. A result that was
// printed stays the one document; a stream gets one more line.
func printFailure(out *stdout.Writer, root, verb *cobra.Command, args []string, err error) {
	if err == nil || errors.Is(err, errNothingNew) || errors.As(err, new(*stdout.Error)) {
		return
	}
	if !wantsJSON(root, args) {
		return
	}
	print := printJSON
	if verb != nil && verb.Name() == "monitor" {
		print = printJSONLine
	} else if out.Written() {
		return
	}
	// That it cannot be printed either is no news: the error itself goes to standard error.
	_ = print(out, reportFailure(err))
}

// wantsJSON reports whether --json was given, also on a command line that could
// not be read up to it.
func wantsJSON(root *cobra.Command, args []string) bool {
	if given, err := root.PersistentFlags().GetBool("json"); err == nil && given {
		return true
	}
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}
