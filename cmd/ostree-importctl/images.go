package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

func imagesCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "images",
		Short: "List the stored images",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			images, err := storedImages(cmd.Context(), s)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), append([]importer.Image{}, images...))
			}
			return printImages(cmd.OutOrStdout(), images)
		},
	}
}

func storedImages(ctx context.Context, s *settings) ([]importer.Image, error) {
	return ask(ctx, s,
		func(imp *importer.Importer) ([]importer.Image, error) { return imp.Images(ctx) },
		func(client *dbus.Client) ([]importer.Image, error) { return client.Images(ctx) })
}

func printImages(w io.Writer, images []importer.Image) error {
	rows := make([][]string, 0, len(images))
	for _, image := range images {
		name, state := image.Reference, "ok"
		if name == "" {
			name = image.ImageRef
		}
		if image.Broken != "" {
			state = "broken: " + image.Broken
		} else if len(image.Unverified) > 0 {
			state = "unverified"
		}
		rows = append(rows, []string{name, short(image.ManifestDigest), shortChecksum(image.Commit), image.Version, date(image.Created), size(image.Size), size(image.SizeUnique), state})
	}
	return table(w, []string{"IMAGE", "DIGEST", "COMMIT", "VERSION", "CREATED", "SIZE", "UNIQUE", "STATE"}, rows)
}

func showCommand(s *settings) *cobra.Command {
	var manifest, config bool
	cmd := &cobra.Command{
		Use:   "show IMGREF",
		Short: "Show one stored image",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.withImage(cmd, args[0], func(w io.Writer, image *importer.Image) error {
				switch {
				case manifest:
					return printDocument(w, image.Manifest)
				case config:
					return printDocument(w, image.Config)
				case s.json:
					return printJSON(w, image)
				}
				return printImage(w, image)
			})
		},
		ValidArgsFunction: s.completeImages(1),
	}
	cmd.Flags().BoolVar(&manifest, "manifest", false, "print the manifest")
	cmd.Flags().BoolVar(&config, "config", false, "print the image configuration")
	cmd.MarkFlagsMutuallyExclusive("manifest", "config")
	return cmd
}

func historyCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "history IMGREF",
		Short: "List the layers of a stored image with the steps that made them",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.withImage(cmd, args[0], func(w io.Writer, image *importer.Image) error {
				if s.json {
					return printJSON(w, append([]importer.ImageLayer{}, image.Layers...))
				}
				rows := make([][]string, 0, len(image.Layers))
				for _, layer := range image.Layers {
					rows = append(rows, []string{short(layer.Digest), size(layer.Size), date(layer.Created), oneLine(layer.CreatedBy)})
				}
				return table(w, []string{"LAYER", "SIZE", "CREATED", "CREATED BY"}, rows)
			})
		},
		ValidArgsFunction: s.completeImages(1),
	}
}

// withImage prints one stored image by means of show.
func (s *settings) withImage(cmd *cobra.Command, ref string, show func(io.Writer, *importer.Image) error) error {
	ctx := cmd.Context()
	name, err := s.storedImage(ctx, ref)
	if err != nil {
		return err
	}
	image, err := ask(ctx, s,
		func(imp *importer.Importer) (*importer.Image, error) { return imp.Image(ctx, name) },
		func(client *dbus.Client) (*importer.Image, error) { return client.Image(ctx, name) })
	if err != nil {
		return err
	}
	return show(cmd.OutOrStdout(), image)
}

func printImage(w io.Writer, image *importer.Image) error {
	if err := fields(w,
		[2]string{"Image", image.Reference},
		[2]string{"Version", image.Version},
		[2]string{"Created", date(image.Created)},
		[2]string{"Manifest", image.ManifestDigest.String()},
		[2]string{"Config", image.ConfigDigest.String()},
		[2]string{"Commit", image.Commit},
		[2]string{"Base", image.BaseCommit},
		[2]string{"Signatures", image.VerifyText},
		[2]string{"Ref", image.ImageRef},
		[2]string{"Size", sizeText(image)},
		[2]string{"Left out", droppedText(image.Filtered)},
		[2]string{"Update", updateText(image.Update)},
		[2]string{"Unverified", unverifiedText(image.Unverified)},
		[2]string{"Broken", image.Broken},
	); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(image.Layers))
	for _, layer := range image.Layers {
		rows = append(rows, []string{short(layer.Digest), size(layer.Size), shortChecksum(layer.Commit), oneLine(layer.CreatedBy)})
	}
	return table(w, []string{"LAYER", "SIZE", "COMMIT", "CREATED BY"}, rows)
}

func sizeText(image *importer.Image) string {
	text := size(image.Size) + " in " + count(len(image.Layers), "layer", "layers")
	if image.SizeShared > 0 {
		text += fmt.Sprintf(", %s of it shared with other images", size(image.SizeShared))
	}
	return text
}

// updateText is what is known of an image's next version; "" for none.
func updateText(update *importer.Update) string {
	if update == nil || !update.Available {
		return ""
	}
	text := update.ManifestDigest.String()
	if update.Version != "" {
		text = update.Version + ", " + text
	}
	if !update.Created.IsZero() {
		text += " of " + date(update.Created)
	}
	return text + fmt.Sprintf(", %s to fetch", size(update.BytesToFetch))
}

// unverifiedText tells what is not verified of an image: "its commit, layers 1, 3"; "" for nothing.
func unverifiedText(list []importer.Unverified) string {
	var parts, layers []string
	for _, u := range list {
		if u.LayerIndex == 0 {
			parts = append(parts, "its commit")
		} else {
			layers = append(layers, strconv.Itoa(u.LayerIndex))
		}
	}
	switch len(layers) {
	case 0:
	case 1:
		parts = append(parts, "layer "+layers[0])
	default:
		parts = append(parts, "layers "+strings.Join(layers, ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + "; verify tells why"
}

// droppedText sums what the path rules left out of the layers: "proc (2), run (1)".
func droppedText[K ~string](layers map[K]map[string]uint32) string {
	total := map[string]uint32{}
	for _, counts := range layers {
		for key, n := range counts {
			total[key] += n
		}
	}
	parts := make([]string, 0, len(total))
	for _, key := range slices.Sorted(maps.Keys(total)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", printable(key), total[key]))
	}
	return strings.Join(parts, ", ")
}

func printDocument(w io.Writer, document json.RawMessage) error {
	var out bytes.Buffer
	if err := json.Indent(&out, document, "", "  "); err != nil {
		return fmt.Errorf("stored document: %w", err)
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}
