package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var copyImage = operation[importer.CopyRequest, importer.CopyResult]{
	local: (*importer.Importer).Copy,
	bus:   (*dbus.Client).Copy,
}

func copyCommand(s *settings) *cobra.Command {
	var repository, target string
	cmd := &cobra.Command{
		Use:   "copy IMGREF --to-repo=PATH",
		Short: "Copy a stored image with its layers to another repository, and print its commit",
		Long: `Copy a stored image with its layers to another repository, and print its
commit. Checksums stay as they are, whatever the mode of the repository.

Over the bus the repository has to be where the daemon may write: see
ostree-importctl(1).`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if repository == "" {
				return usageError{errors.New("copy needs --to-repo=PATH, the repository to copy to")}
			}
			var request importer.CopyRequest
			if request.Image, err = s.storedImage(cmd.Context(), args[0]); err != nil {
				return err
			}
			if request.Target, err = absoluteImage(target); err != nil {
				return err
			}
			if request.Repository, err = absolute(repository); err != nil {
				return err
			}
			result, err := copyImage.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			if !s.quiet {
				fmt.Fprintf(os.Stderr, "copied to %s as %s: %s, manifest %s\n", result.Repository, result.Reference,
					count(result.Layers, "layer", "layers"), result.ManifestDigest)
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.Commit)
			return nil
		},
		ValidArgsFunction: s.completeImages(1),
	}
	cmd.Flags().StringVar(&repository, "to-repo", "", "`path` of the repository to copy to")
	cmd.Flags().StringVar(&target, "target", "", "record the image under this `IMGREF` there")
	return cmd
}
