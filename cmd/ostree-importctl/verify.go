package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

var verify = operation[importer.VerifyRequest, importer.VerifyResult]{
	local: (*importer.Importer).Verify,
	bus:   (*dbus.Client).Verify,
}

func verifyCommand(s *settings) *cobra.Command {
	var access accessOptions
	var request importer.VerifyRequest
	cmd := &cobra.Command{
		Use:   "verify [IMGREF...]",
		Short: "Check stored images, all if none is named",
		Long: `Check stored images, all if none is named: each object, each layer, and that
the layers still make the image. The exit code is 1 when an image is damaged,
and stays so with --repair, which fetches what is damaged again. It is 5 when
none is known to be damaged, but one could not be read, or holds what this
program has not verified: pull --require-verified does that. Nothing is
written without --repair.`,
		Args: atLeast(0),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkJobs(request.Jobs); err != nil {
				return err
			}
			if request.Access, err = access.access(); err != nil {
				return err
			}
			if request.Images, err = s.storedNames(cmd.Context(), args); err != nil {
				return err
			}
			result, err := verify.run(cmd.Context(), s, request)
			if err != nil {
				return err
			}
			if s.json {
				err = printJSON(cmd.OutOrStdout(), result)
			} else {
				err = printVerified(cmd.OutOrStdout(), result)
			}
			if err != nil {
				return err
			}
			return damageError(result, request.Repair)
		},
		ValidArgsFunction: s.completeImages(anyNumber),
	}
	cmd.Flags().BoolVar(&request.Repair, "repair", false, "fetch what is damaged again")
	registerJobs(cmd.Flags(), &request.Jobs)
	access.register(cmd.Flags())
	return cmd
}

// damageError is what verify ends with when not all is good.
func damageError(result *importer.VerifyResult, repaired bool) error {
	damaged, unchecked, unverified := result.Count(importer.StateDamaged), result.Count(importer.StateUnchecked), 0
	for i := range result.Images {
		if len(result.Images[i].Unverified) > 0 {
			unverified++
		}
	}
	switch {
	case damaged == 0 && unchecked == 0 && unverified == 0:
		return nil
	case damaged == 0 && unchecked == 0:
		return uncheckedError{fmt.Errorf("verify: %d of %s not verified whole; the list says what verifies them",
			unverified, count(len(result.Images), "image", "images"))}
	case damaged == 0:
		return uncheckedError{fmt.Errorf("verify: %d of %s could not be checked; the list says why",
			unchecked, count(len(result.Images), "image", "images"))}
	}
	hint := "--repair fetches what is damaged again"
	if repaired {
		hint = "the list says what could not be repaired"
	}
	return fmt.Errorf("verify: %d of %s damaged; %s", damaged, count(len(result.Images), "image", "images"), hint)
}

func printVerified(w io.Writer, result *importer.VerifyResult) error {
	rows := make([][]string, 0, len(result.Images))
	for _, image := range result.Images {
		found := ""
		if n := len(image.Damage) + image.Truncated; n > 0 {
			found = count(n, "problem", "problems")
		} else if n := len(image.Unverified); n > 0 {
			found = count(n, "part", "parts") + " not verified"
		}
		rows = append(rows, []string{image.Reference, shortChecksum(image.Commit), image.State, found})
	}
	if err := table(w, []string{"IMAGE", "COMMIT", "STATE", "FOUND"}, rows); err != nil {
		return err
	}
	for i := range result.Images {
		if err := printFound(w, &result.Images[i]); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("\nchecked %s, %s", count(int(result.Objects), "object", "objects"), size(result.Bytes))
	if result.LayersFetched > 0 {
		text += fmt.Sprintf("; fetched %s, %s", count(result.LayersFetched, "layer", "layers"), size(result.BytesFetched))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// shortObject keeps the beginning of an object's checksum, and its kind.
func shortObject(object string) string {
	checksum, kind, found := strings.Cut(object, ".")
	if !found {
		return shortChecksum(object)
	}
	return shortChecksum(checksum) + "." + kind
}

// printFound prints what was found of an image that is not good.
func printFound(w io.Writer, image *importer.VerifiedImage) error {
	if len(image.Damage) == 0 && image.NotChecked == "" && len(image.Unverified) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", printable(image.Reference))
	if image.NotChecked != "" {
		fmt.Fprintf(w, "not checked whole: %s\n", printable(image.NotChecked))
	}
	if err := printDamage(w, image); err != nil {
		return err
	}
	return printUnverified(w, image.Reference, image.Unverified)
}

// layerName names a layer of an image in a table, and the image's own commit where there is no
// layer.
func layerName(layer digest.Digest, index int) string {
	switch {
	case layer == "":
		return "image"
	case index == 0:
		return short(layer)
	}
	return strconv.Itoa(index) + " " + short(layer)
}

// printUnverified prints what is not verified of an image, and what verifies it.
func printUnverified(w io.Writer, name string, list []importer.Unverified) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(list))
	for _, u := range list {
		rows = append(rows, []string{layerName(u.Layer, u.LayerIndex), u.Reason})
	}
	if err := table(w, []string{"LAYER", "NOT VERIFIED"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "`ostree-importctl pull --%s %s` fetches and verifies it\n", list[0].VerifiedBy, printable(name))
	return err
}

func printDamage(w io.Writer, image *importer.VerifiedImage) error {
	if len(image.Damage) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(image.Damage))
	for _, damage := range image.Damage {
		rows = append(rows, []string{layerName(damage.Layer, damage.LayerIndex), damage.Path, shortObject(damage.Object), damage.Problem})
	}
	if err := table(w, []string{"LAYER", "PATH", "OBJECT", "PROBLEM"}, rows); err != nil {
		return err
	}
	if image.Truncated > 0 {
		fmt.Fprintf(w, "and %d more\n", image.Truncated)
	}
	return nil
}
