package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var pull = operation[importer.Request, importer.Result]{
	local: func(imp *importer.Importer, ctx context.Context, request importer.Request, progress func(importer.Progress)) (*importer.Result, error) {
		progress(importer.Progress{Stage: importer.StageOpen, Fraction: -1})
		prepared, err := imp.Prepare(ctx, request)
		if err != nil {
			return nil, err
		}
		defer prepared.Close()
		return prepared.Import(ctx, progress)
	},
	bus:    (*dbus.Client).Import,
	result: func(status daemon.JobStatus) (*importer.Result, error) { return status.Import, nil },
}

func pullCommand(s *settings) *cobra.Command {
	var options requestOptions
	var checkChanged bool
	cmd := &cobra.Command{
		Use:   "pull IMGREF",
		Short: "Import an image and print its commit",
		Long: `Import an image and print the commit that holds it.

Layers that are present are not fetched again: a repeated pull does nothing,
and an interrupted one goes on with what is missing. Over the bus, the first
Ctrl-C cancels the job; a second one leaves it to the daemon.

With --check-changed the exit code is 77 when the image's name stands for the
same commit as before.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := options.request(args[0])
			if err != nil {
				return err
			}
			result, err := pull.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if err := printPulled(cmd.OutOrStdout(), s, request.Image, result); err != nil {
				return err
			}
			if checkChanged && !result.Changed {
				return errNothingNew
			}
			return nil
		},
	}
	options.register(cmd.Flags())
	cmd.Flags().BoolVar(&checkChanged, "check-changed", false, "exit with 77 when nothing has changed")
	return cmd
}

func printPulled(w io.Writer, s *settings, name string, result *importer.Result) error {
	if s.json {
		return printJSON(w, result)
	}
	if !s.quiet {
		fmt.Fprintln(os.Stderr, summary(result, name))
	}
	if result.Commit == "" {
		return nil
	}
	_, err := fmt.Fprintln(w, result.Commit)
	return err
}

// summary says what a pull of the image that the caller calls name did.
func summary(result *importer.Result, name string) string {
	text := fmt.Sprintf("%s, manifest %s", daemon.ImportText(result, name), result.ManifestDigest)
	if dropped := droppedText(result.Filtered); dropped != "" {
		text += "\nleft out: " + dropped
	}
	unverified := 0
	for _, l := range result.Layers {
		if l.Unverified {
			unverified++
		}
	}
	if unverified > 0 {
		text += fmt.Sprintf("\nnot verified: %s, as another program has stored them", count(unverified, "layer", "layers"))
	}
	if result.VerifyText != "" {
		text += "\nsignatures: " + printable(result.VerifyText)
	}
	return text
}
