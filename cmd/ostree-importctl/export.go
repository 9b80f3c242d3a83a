package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var export = operation[importer.ExportRequest, importer.ExportResult]{
	local: (*importer.Importer).Export,
	bus:   (*dbus.Client).Export,
}

func exportCommand(s *settings) *cobra.Command {
	var access accessOptions
	var request importer.ExportRequest
	cmd := &cobra.Command{
		Use:   "export IMGREF DEST",
		Short: "Write a stored image out, and print where to",
		Long: `Write a stored image out, and print where to.

DEST is oci:DIR[:TAG], oci-archive:FILE, a registry's docker://HOST/NAME[:TAG],
dir:DIR, docker-archive:FILE[:NAME] or containers-storage:NAME for an image with
its layers, and tar:FILE, squashfs:FILE or erofs:FILE for the root that they
make together. It is written with your rights, also over the bus.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Image, err = s.storedImage(cmd.Context(), args[0]); err != nil {
				return err
			}
			if request.Destination, err = absoluteDestination(args[1]); err != nil {
				return err
			}
			if err := checkLevel(cmd, request.CompressionLevel); err != nil {
				return err
			}
			if request.Access, err = access.access(); err != nil {
				return err
			}
			result, err := export.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			if !s.quiet {
				fmt.Fprintln(os.Stderr, exportedText(result))
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.Destination)
			return nil
		},
		ValidArgsFunction: s.completeImages(1),
	}
	registerCompression(cmd, &request.Compression, &request.CompressionLevel)
	access.register(cmd.Flags())
	return cmd
}

func exportedText(result *importer.ExportResult) string {
	verb := "exported"
	if result.Cached {
		verb = "already there:"
	}
	text := fmt.Sprintf("%s %s, %s, manifest %s", verb, result.Reference, size(result.Size), result.ManifestDigest)
	if result.ConfigFile != "" {
		text += "\nconfig: " + result.ConfigFile
	}
	return text
}
