package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

func prepareCommand(s *settings) *cobra.Command {
	var options requestOptions
	var check bool
	cmd := &cobra.Command{
		Use:   "prepare IMGREF",
		Short: "Tell what a pull would do",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := options.request(args[0])
			if err != nil {
				return err
			}
			plan, err := plan(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				err = printJSON(cmd.OutOrStdout(), plan)
			} else {
				err = printPlan(cmd.OutOrStdout(), plan)
			}
			if err == nil && check && plan.AlreadyPresent {
				return errNothingNew
			}
			return err
		},
	}
	options.register(cmd.Flags())
	cmd.Flags().BoolVar(&check, "check", false, "exit with 77 when a pull would change nothing")
	return cmd
}

// plan says what an import would do.
func plan(ctx context.Context, s *settings, request importer.Request) (*importer.Plan, error) {
	return ask(ctx, s,
		func(imp *importer.Importer) (*importer.Plan, error) {
			prepared, err := imp.Prepare(ctx, request)
			if err != nil {
				return nil, err
			}
			defer prepared.Close()
			plan := prepared.Plan()
			return &plan, nil
		},
		func(client *dbus.Client) (*importer.Plan, error) {
			if err := open(&request); err != nil {
				return nil, err
			}
			prepared, err := client.Prepare(ctx, request, daemon.JobOptions{})
			return &prepared.Plan, err
		})
}

func printPlan(w io.Writer, plan *importer.Plan) error {
	state := "new here"
	switch {
	case plan.AlreadyPresent:
		state = "present as commit " + plan.Commit
	case plan.PreviousDigest != "":
		state = "replaces " + plan.PreviousDigest.String()
	}
	if err := fields(w,
		[2]string{"Image", plan.Reference},
		[2]string{"Version", plan.Version},
		[2]string{"Created", date(plan.Created)},
		[2]string{"Manifest", plan.ManifestDigest.String()},
		[2]string{"Config", plan.ConfigDigest.String()},
		[2]string{"State", state},
		[2]string{"To fetch", fmt.Sprintf("%d of %s, %s of %s", plan.LayersToFetch, count(len(plan.Layers), "layer", "layers"), size(plan.BytesToFetch), size(plan.BytesTotal))},
	); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(plan.Layers))
	for _, layer := range plan.Layers {
		state := "fetch"
		if layer.Cached {
			state = "present"
		}
		rows = append(rows, []string{short(layer.Digest), size(layer.Size), state, oneLine(layer.CreatedBy)})
	}
	return table(w, []string{"LAYER", "SIZE", "STATE", "CREATED BY"}, rows)
}

// oneLine cuts a build step to what fits on a terminal's line.
func oneLine(text string) string {
	const limit = 60
	runes := make([]rune, 0, limit)
	for _, r := range text {
		if len(runes) == limit {
			return string(runes[:limit-1]) + "…"
		}
		runes = append(runes, r)
	}
	return string(runes)
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}
