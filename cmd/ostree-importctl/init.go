package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

func initCommand(s *settings) *cobra.Command {
	var request importer.InitRequest
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the repository that images are imported into",
		Long: `Make the repository that images are imported into, with the directories above it.

One that is there already is left as it is. The daemon makes the repository that
it was started with, /ostree/repo unless it was told another one.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := initRepository(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			return printInit(cmd.OutOrStdout(), result)
		},
	}
	cmd.Flags().StringVar(&request.Mode, "mode", "", "`mode` of a new repository: bare (default of root), bare-user (default of others) or archive")
	return cmd
}

// initRepository differs from the other operations in that there is no importer before it.
func initRepository(ctx context.Context, s *settings, request importer.InitRequest) (*importer.InitResult, error) {
	if s.local {
		config, err := s.localConfig()
		if err != nil {
			return nil, err
		}
		return config.Init(ctx, request)
	}
	return operation[importer.InitRequest, importer.InitResult]{bus: (*dbus.Client).Init}.run(ctx, s, request)
}

func printInit(w io.Writer, result *importer.InitResult) error {
	text := "%s is a repository of mode %s already\n"
	if result.Created {
		text = "made %s, a repository of mode %s\n"
	}
	_, err := fmt.Fprintf(w, text, printable(result.Repository), printable(result.Mode))
	return err
}
