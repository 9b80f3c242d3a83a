package main

import (
	"encoding/json"
	"fmt"
	"io"
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
