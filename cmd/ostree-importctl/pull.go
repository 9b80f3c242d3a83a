package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var pull = operation[importer.Request, importer.Result]{
	local: func(imp *importer.Importer, ctx context.Context, request importer.Request, progress func(importer.Progress)) (*importer.Result, error) {
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
	cmd := &cobra.Command{
		Use:   "pull IMGREF",
		Short: "Import an image and print its commit",
		Long: `Import an image and print the commit that holds it.

Layers that are present are not fetched again: a repeated pull does nothing,
and an interrupted one goes on with what is missing. Over the bus, the first
Ctrl-C cancels the job; a second one leaves it to the daemon.`,
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
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			if !s.quiet {
				fmt.Fprintln(os.Stderr, summary(result))
			}
			if result.Commit != "" {
				fmt.Fprintln(cmd.OutOrStdout(), result.Commit)
			}
			return nil
		},
	}
	options.register(cmd.Flags())
	return cmd
}

func summary(result *importer.Result) string {
	if result.AlreadyPresent {
		return fmt.Sprintf("%s is present, manifest %s", result.Reference, result.ManifestDigest)
	}
	cached := 0
	for _, layer := range result.Layers {
		if layer.Cached {
			cached++
		}
	}
	text := fmt.Sprintf("imported %s: %s, %d of them cached, %s fetched, manifest %s",
		result.Reference, count(len(result.Layers), "layer", "layers"), cached, size(result.BytesFetched), result.ManifestDigest)
	if dropped := droppedText(result.Filtered); dropped != "" {
		text += "\nleft out: " + dropped
	}
	if result.VerifyText != "" {
		text += "\nsignatures: " + printable(result.VerifyText)
	}
	return text
}
