package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var encapsulate = operation[importer.EncapsulateRequest, importer.EncapsulateResult]{
	local: (*importer.Importer).Encapsulate,
	bus:   (*dbus.Client).Encapsulate,
}

func encapsulateCommand(s *settings) *cobra.Command {
	var access accessOptions
	var labels []string
	var prior string
	var request importer.EncapsulateRequest
	cmd := &cobra.Command{
		Use:   "encapsulate REV DEST",
		Short: "Make an image of a commit, and print its manifest digest",
		Long: `Make an image of a commit, and print its manifest digest.

REV is a ref or a commit's checksum. DEST is oci:DIR[:TAG], oci-archive:FILE,
a registry's docker://HOST/NAME[:TAG], dir:DIR, docker-archive:FILE[:NAME] or
containers-storage:NAME.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.Labels, err = parseLabels(labels); err != nil {
				return err
			}
			if cmd.Flags().Changed("max-layers") && request.MaxLayers < 1 {
				return usageError{fmt.Errorf("--max-layers=%d: it is at least 1", request.MaxLayers)}
			}
			if err := checkLevel(cmd, request.CompressionLevel); err != nil {
				return err
			}
			if request.Access, err = access.access(); err != nil {
				return err
			}
			if request.ContainerConfig, err = absolute(request.ContainerConfig); err != nil {
				return err
			}
			if request.ContentMap, err = absolute(request.ContentMap); err != nil {
				return err
			}
			request.Rev = args[0]
			if request.Destination, err = absoluteDestination(args[1]); err != nil {
				return err
			}
			if request.Prior, err = absoluteImage(prior); err != nil {
				return err
			}
			result, err := encapsulate.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			if !s.quiet {
				fmt.Fprintln(os.Stderr, encapsulatedText(result))
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.ManifestDigest)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&labels, "label", nil, "give the image this label, `name=value` (repeatable)")
	flags.StringArrayVar(&request.Cmd, "cmd", nil, "an `argument` of the image's default command, the program first (repeatable)")
	flags.StringVar(&request.Architecture, "arch", "", "the image's `architecture`, as OCI names it (default: this host's)")
	flags.IntVar(&request.MaxLayers, "max-layers", 0, "make no more than this `number` of layers (default 64)")
	flags.BoolVar(&request.SingleLayer, "single-layer", false, "put all into one layer")
	registerCompression(cmd, &request.Compression, &request.CompressionLevel)
	flags.StringArrayVar(&request.Copy, "copy-metadata", nil, "copy this `key` of the commit's metadata to a label (repeatable)")
	flags.StringArrayVar(&request.CopyOptional, "copy-metadata-optional", nil, "copy this `key` too, if the commit has it (repeatable)")
	flags.StringVar(&request.Created, "created", "", "the image's `time` of creation, such as 2026-01-31T12:00:00Z (default: the commit's)")
	flags.StringVar(&request.ContainerConfig, "container-config", "", "a JSON `file` with what else the config says of how a container is run")
	flags.StringVar(&request.ContentMap, "content-map", "", "a JSON `file` that says what shares a layer, in place of the package database")
	flags.StringVar(&prior, "prior", "", "an earlier `image` of the same system: what shared a layer in it does so again")
	cmd.MarkFlagsMutuallyExclusive("max-layers", "single-layer")
	cmd.MarkFlagsMutuallyExclusive("prior", "single-layer")
	cmd.MarkFlagsMutuallyExclusive("content-map", "single-layer")
	access.register(flags)
	return cmd
}

// registerCompression adds the options of verbs that write layers.
func registerCompression(cmd *cobra.Command, compression *string, level *int) {
	cmd.Flags().IntVar(level, "compression-level", 0, "compress at this `level`: 1 to 9 for gzip, 1 to 22 for zstd (default: the usual one)")
	cmd.Flags().StringVar(compression, "compression", "", "compress layers by this `method`: gzip, zstd or none (default gzip)")
	complete := cobra.FixedCompletions([]cobra.Completion{"gzip", "zstd", "none"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("compression", complete); err != nil {
		panic(err) // the flag is there, and has no other
	}
}

// checkLevel refuses a compression level that no method has.
func checkLevel(cmd *cobra.Command, level int) error {
	if cmd.Flags().Changed("compression-level") && level < 1 {
		return usageError{fmt.Errorf("--compression-level=%d: it is at least 1", level)}
	}
	return nil
}

// parseLabels reads name=value.
func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	labels := make(map[string]string, len(texts))
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--label=%s: it is written name=value", text)}
		}
		labels[name] = value
	}
	return labels, nil
}

func encapsulatedText(result *importer.EncapsulateResult) string {
	total := uint64(0)
	for _, layer := range result.Layers {
		total += layer.Size
	}
	text := fmt.Sprintf("encapsulated %s as %s: %s by %s, %s, config %s", result.Commit, result.Destination,
		count(len(result.Layers), "layer", "layers"), result.Chunking, size(total), result.ConfigDigest)
	if result.Note != "" {
		text += "\nnote: " + printable(result.Note)
	}
	return text
}
