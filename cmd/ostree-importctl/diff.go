package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

func diffCommand(s *settings) *cobra.Command {
	var access accessOptions
	var request importer.CompareRequest
	cmd := &cobra.Command{
		Use:   "diff IMGREF [IMGREF]",
		Short: "Compare an image with another one, or a stored one with what its name stands for now",
		Long: `Compare two images or, if only one is named, which is stored then, with what its
name stands for at its origin now. What is stored of an image counts; of others
the manifest and configuration are fetched. --files needs both images to be
stored.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Access, err = access.access(); err != nil {
				return err
			}
			if request.Image, err = s.storedImage(cmd.Context(), args[0]); err != nil {
				return err
			}
			if len(args) == 2 {
				if request.Other, err = s.storedImage(cmd.Context(), args[1]); err != nil {
					return err
				}
			}
			ctx := cmd.Context()
			comparison, err := ask(ctx, s,
				func(imp *importer.Importer) (*importer.Comparison, error) {
					request.ImageNotStored, request.OtherNotStored = true, true
					return imp.Compare(ctx, request)
				},
				func(client *dbus.Client) (*importer.Comparison, error) {
					if err := open(&request); err != nil {
						return nil, err
					}
					return client.Compare(ctx, request)
				})
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), comparison)
			}
			return printComparison(cmd.OutOrStdout(), comparison, request.Files)
		},
		ValidArgsFunction: s.completeImages(2),
	}
	cmd.Flags().BoolVar(&request.Files, "files", false, "list the files that differ, too")
	access.register(cmd.Flags())
	return cmd
}

func printComparison(w io.Writer, c *importer.Comparison, files bool) error {
	if err := fields(w,
		[2]string{"From", comparedText(c.From)},
		[2]string{"To", comparedText(c.To)},
		[2]string{"Added", layersText(c.Added, c.BytesAdded)},
		[2]string{"Removed", layersText(c.Removed, c.BytesRemoved)},
		[2]string{"Kept", layersText(c.Kept, c.BytesKept)},
		[2]string{"To fetch", size(c.BytesToFetch)},
	); err != nil {
		return err
	}
	var rows [][]string
	for _, part := range []struct {
		change string
		layers []importer.ComparedLayer
	}{{"removed", c.Removed}, {"added", c.Added}} {
		for _, layer := range part.layers {
			rows = append(rows, []string{short(layer.Digest), size(layer.Size), part.change, oneLine(layer.CreatedBy)})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		if err := table(w, []string{"LAYER", "SIZE", "CHANGE", "CREATED BY"}, rows); err != nil {
			return err
		}
	}
	if !files {
		return nil
	}
	fmt.Fprintln(w)
	rows = nil
	for _, file := range c.Files {
		rows = append(rows, []string{file.Change, file.Path, file.What})
	}
	return table(w, []string{"CHANGE", "PATH", "WHAT"}, rows)
}

func comparedText(image importer.ComparedImage) string {
	text := image.Reference
	if image.Version != "" {
		text += " " + image.Version
	}
	return text + " (" + image.ManifestDigest.String() + ")"
}

func layersText(layers []importer.ComparedLayer, bytes uint64) string {
	return count(len(layers), "layer", "layers") + ", " + size(bytes)
}
