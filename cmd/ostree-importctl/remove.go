package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var remove = operation[importer.RemoveRequest, importer.RemoveResult]{
	local: (*importer.Importer).Remove,
	bus:   (*dbus.Client).Remove,
}

func removeCommand(s *settings) *cobra.Command {
	var request importer.RemoveRequest
	cmd := &cobra.Command{
		Use:   "remove IMGREF...",
		Short: "Drop stored images, and what then nothing needs",
		Long: `Drop stored images, and what then nothing needs.

An image that a deployment uses is in use, and then none is dropped. With --force
it loses its name, so that nothing updates it any more; what the deployment needs
stays.`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Images, err = s.storedNames(cmd.Context(), args); err != nil {
				return err
			}
			result, err := remove.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			return printRemoved(cmd.OutOrStdout(), result)
		},
		ValidArgsFunction: s.completeImages(anyNumber),
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "drop images too that a deployment uses")
	cmd.Flags().BoolVar(&request.SkipGC, "skip-gc", false, "keep what nothing needs any more")
	return cmd
}

func printRemoved(w io.Writer, result *importer.RemoveResult) error {
	for _, name := range result.Removed {
		fmt.Fprintf(w, "removed %s\n", printable(name))
	}
	for _, name := range result.Missing {
		fmt.Fprintf(w, "not stored: %s\n", printable(name))
	}
	if c := result.Collected; c != nil {
		fmt.Fprintf(w, "collected %s\n", collectedText(c))
	}
	return nil
}

// collectedText says what a collection dropped.
func collectedText(result *importer.PruneResult) string {
	text := fmt.Sprintf("%s and %s, %s", count(result.Layers, "layer", "layers"), count(result.Objects, "object", "objects"), size(result.Bytes))
	if result.Images > 0 {
		text = count(result.Images, "image", "images") + ", " + text
	}
	return text
}
