package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/daemon"
)

// printJSON writes v as the one document of --json.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// printable replaces control characters by spaces.
func printable(text string) string { return daemon.OneLine(text) }

// table prints rows as aligned columns below a header.
func table(w io.Writer, header []string, rows [][]string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, strings.Join(header, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(out, "\t")
			}
			fmt.Fprint(out, printable(cell))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// cut shortens a text to so many columns, and says so by its end.
func cut(text string, columns int) string {
	runes := []rune(text)
	if len(runes) <= columns {
		return text
	}
	if columns <= 0 {
		return ""
	}
	return string(runes[:columns-1]) + "…"
}

// fields prints name-value pairs, leaving out empty values.
func fields(w io.Writer, pairs ...[2]string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, pair := range pairs {
		if pair[1] != "" {
			fmt.Fprintf(out, "%s:\t%s\n", pair[0], printable(pair[1]))
		}
	}
	return out.Flush()
}

// size prints bytes in decimal units: "1.5 MB".
func size(bytes uint64) string { return daemon.SizeText(bytes) }

// short is a digest as people compare it: the first twelve hex digits.
func short(d digest.Digest) string {
	if d.Validate() != nil {
		return string(d)
	}
	return d.Encoded()[:12]
}

func shortChecksum(checksum string) string {
	return checksum[:min(12, len(checksum))]
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func count(n int, singular, plural string) string {
	if n == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %s", n, plural)
}

// printJSONLine writes v as one line of a stream.
func printJSONLine(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
