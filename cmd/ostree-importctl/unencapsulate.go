package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var unencapsulate = operation[importer.UnencapsulateRequest, importer.UnencapsulateResult]{
	local: (*importer.Importer).Unencapsulate,
	bus:   (*dbus.Client).Unencapsulate,
}

func unencapsulateCommand(s *settings) *cobra.Command {
	var access accessOptions
	var fetch fetchOptions
	var request importer.UnencapsulateRequest
	cmd := &cobra.Command{
		Use:   "unencapsulate IMGREF",
		Short: "Fetch only the OSTree commit inside an encapsulated image, and print it",
		Long: `Fetch only the OSTree commit inside an encapsulated image, and print it.

No image is recorded. With --ref the commit gets that ref; without, it stays
only as long as the layers that it came in do.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Digest, request.Jobs, err = fetch.fetch(); err != nil {
				return err
			}
			if request.Access, err = access.access(); err != nil {
				return err
			}
			if request.Image, err = absoluteImage(args[0]); err != nil {
				return err
			}
			result, err := unencapsulate.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			if !s.quiet {
				fmt.Fprintln(os.Stderr, unencapsulatedText(result))
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.Commit)
			return nil
		},
	}
	cmd.Flags().StringVar(&request.Ref, "ref", "", "let this `ref` name the commit")
	cmd.Flags().BoolVar(&request.SkipGC, "skip-gc", false, "keep layers that no image needs any more, those of the commit too")
	access.register(cmd.Flags())
	fetch.register(cmd.Flags())
	return cmd
}

func unencapsulatedText(result *importer.UnencapsulateResult) string {
	text := fmt.Sprintf("unencapsulated %s: %s fetched in %s, manifest %s",
		result.Reference, size(result.BytesFetched), count(result.LayersFetched, "layer", "layers"), result.ManifestDigest)
	if result.Version != "" {
		text += "\nversion: " + printable(result.Version)
	}
	if result.Ref != "" {
		text += "\nref: " + printable(result.Ref)
	}
	if result.VerifyText != "" {
		text += "\nsignatures: " + printable(result.VerifyText)
	}
	return text
}
