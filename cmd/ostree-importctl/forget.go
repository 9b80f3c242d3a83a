package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

func forgetCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "forget IMGREF",
		Short: "Forget the newer version that was found of a stored image",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name, err := s.storedImage(ctx, args[0])
			if err != nil {
				return err
			}
			request := importer.UpdateRequest{Image: name, Forget: true}
			update, err := ask(ctx, s,
				func(imp *importer.Importer) (*importer.Update, error) { return imp.CheckUpdate(ctx, request) },
				func(client *dbus.Client) (*importer.Update, error) { return client.CheckUpdate(ctx, request) })
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), update)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "no newer version of %s is known\n", printable(update.Reference))
			return err
		},
		ValidArgsFunction: s.completeImages(1),
	}
}
