package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var prune = operation[importer.PruneRequest, importer.PruneResult]{
	local: (*importer.Importer).Prune,
	bus:   (*dbus.Client).Prune,
}

func gcCommand(s *settings) *cobra.Command {
	var images bool
	var quota string
	var request importer.PruneRequest
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Drop layers that no image needs, and objects that nothing refers to",
		Long: `Drop layers that no image needs, and objects that nothing refers to.

With --images it drops images too: those that no deployment uses, but of each
name, whatever their tags, the --keep-last youngest, and of these the oldest
until they fit into the --quota. The youngest is the one that was created last;
where images say the same time of creation or none, the one that was imported
last. A dry run shows the reason for each ref.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			request.Scope = importer.PruneLayers
			if images {
				request.Scope = importer.PruneImages
			}
			if err := checkPolicy(images, cmd.Flags().Changed("keep-last"), quota != "", request.KeepLast); err != nil {
				return err
			}
			if request.Quota, err = parseSize(quota); err != nil {
				return err
			}
			result, err := prune.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(cmd.OutOrStdout(), result)
			}
			return printPruned(cmd.OutOrStdout(), result)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&request.DryRun, "dry-run", false, "only show what would be dropped, and why all else is kept")
	flags.BoolVar(&images, "images", false, "drop images too that no deployment uses; needs --keep-last")
	flags.IntVar(&request.KeepLast, "keep-last", 0, "with --images, keep this `number` of images of each name")
	flags.StringVar(&quota, "quota", "", "with --images, the `size` that the kept ones may have together, such as 20G")
	return cmd
}

// checkPolicy wants it said how many images to keep: by default none would be.
func checkPolicy(images, keepLast, quota bool, keep int) error {
	switch {
	case !images && (keepLast || quota):
		return usageError{errors.New("--keep-last and --quota say which images are kept: they need --images")}
	case images && !keepLast:
		return usageError{errors.New("--images needs --keep-last=NUMBER, of images to keep of each name; 0 drops all that no deployment uses")}
	case keep < 0:
		return usageError{fmt.Errorf("--keep-last=%d: it is at least 0", keep)}
	}
	return nil
}

// parseSize reads bytes, or thousands of them as K, M, G or T, which is how
// sizes are printed. An empty text is 0.
func parseSize(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := text, uint64(1)
	if i := strings.IndexByte("KMGT", text[len(text)-1]); i >= 0 {
		number = text[:len(text)-1]
		for range i + 1 {
			unit *= 1000
		}
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 || n > math.MaxUint64/unit {
		return 0, usageError{fmt.Errorf("--quota=%s: it is a number of bytes, or of K, M, G or T, such as 20G", text)}
	}
	return n * unit, nil
}

// printPruned lists what was dropped; after a dry run all refs.
func printPruned(w io.Writer, result *importer.PruneResult) error {
	rows := make([][]string, 0, len(result.Refs))
	for _, ref := range result.Refs {
		state := "keep"
		if ref.Deleted {
			state = "drop"
		}
		if ref.Deleted || result.DryRun {
			rows = append(rows, []string{state, ref.Name, ref.Reason})
		}
	}
	if len(rows) > 0 {
		if err := table(w, []string{"STATE", "NAME", "REASON"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	verb := "dropped"
	if result.DryRun {
		verb = "would drop"
	}
	_, err := fmt.Fprintf(w, "%s %s\n", verb, collectedText(result))
	return err
}
