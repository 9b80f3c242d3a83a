package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/importer"
)

// completeTimeout is how long a shell waits for the names of the images.
const completeTimeout = 2 * time.Second

// anyNumber of images.
const anyNumber = -1

// completeImages completes the names of stored images, for that many first
// arguments. After them it is the shell's turn, with the names of files.
func (s *settings) completeImages(arguments int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if arguments != anyNumber && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		images, err := storedImages(ctx, s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return imageNames(images, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// imageNames are the names of the images that are not among those given.
func imageNames(images []importer.Image, given []string) (names []cobra.Completion) {
	for _, image := range images {
		if image.Reference != "" && !slices.Contains(given, image.Reference) {
			names = append(names, printable(image.Reference))
		}
	}
	return names
}
