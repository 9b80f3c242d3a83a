package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

const (
	// columnGap is the space between two columns of a table.
	columnGap = 2
	// readable is what a column with sentences keeps as long as other columns can
	// be spared, and recognizable what any column keeps.
	readable, recognizable = 16, 8
)

// spare names the columns that a table leaves out on a terminal that is too
// narrow, the first ones first. Others have them: show, or --json.
var spare = []string{"UNIQUE", "DIGEST", "COMMIT", "CREATED", "STARTED", "OBJECT", "SIZE", "VERSION"}

// sentences names the columns whose beginning says most.
var sentences = []string{"CREATED BY", "STATUS", "REASON", "PROBLEM", "WHAT", "NOT VERIFIED", "STATE"}

// table prints rows as aligned columns below a header. On a terminal no line is
// longer than that is wide, as long as that leaves anything to read.
func table(w io.Writer, header []string, rows [][]string) error {
	lines := [][]string{header}
	for _, row := range rows {
		printed := make([]string, len(row))
		for i, cell := range row {
			printed[i] = printable(cell)
		}
		lines = append(lines, printed)
	}
	if columns := terminalColumns(w); columns > 0 {
		lines = fit(lines, columns)
	}
	out := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(out, strings.Join(line, "\t"))
	}
	return out.Flush()
}

// terminalColumns is the width of the terminal that w writes to; 0 if it is none.
func terminalColumns(w io.Writer) int {
	if terminal, is := w.(interface{ Columns() int }); is {
		return terminal.Columns()
	}
	return 0
}

// fields prints name-value pairs, leaving out empty values. On a terminal a value
// that fits on a line of its own, but not beside its name, gets one: a digest
// stays whole.
func fields(w io.Writer, pairs ...[2]string) error {
	names := 0
	for _, pair := range pairs {
		if pair[1] != "" {
			names = max(names, utf8.RuneCountInString(pair[0])+len(":"))
		}
	}
	columns := terminalColumns(w)
	for _, pair := range pairs {
		value := printable(pair[1])
		if value == "" {
			continue
		}
		line := fmt.Sprintf("%-*s  %s\n", names, pair[0]+":", value)
		if length := utf8.RuneCountInString(value); names+columnGap+length > columns && columnGap+length <= columns {
			line = fmt.Sprintf("%s:\n  %s\n", pair[0], value)
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

// fit makes the lines of a table, the header first, so short that they fit.
func fit(lines [][]string, columns int) [][]string {
	for i, name := range lines[0] {
		if over := tableWidth(lines) - columns; over > 0 && slices.Contains(sentences, name) {
			shorten(lines, i, max(columnWidth(lines, i)-over, readable))
		}
	}
	for _, name := range spare {
		if i := slices.Index(lines[0], name); i > 0 && tableWidth(lines) > columns {
			lines = without(lines, i)
		}
	}
	for {
		over, widest := tableWidth(lines)-columns, 0
		for i := range lines[0] {
			if columnWidth(lines, i) > columnWidth(lines, widest) {
				widest = i
			}
		}
		width := columnWidth(lines, widest)
		if over <= 0 || width <= recognizable {
			return lines
		}
		shorten(lines, widest, max(width-over, recognizable, width/2))
	}
}

func tableWidth(lines [][]string) int {
	width := -columnGap
	for i := range lines[0] {
		width += columnWidth(lines, i) + columnGap
	}
	return width
}

func columnWidth(lines [][]string, i int) int {
	width := 0
	for _, line := range lines {
		width = max(width, utf8.RuneCountInString(line[i]))
	}
	return width
}

// shorten cuts a column. Of names the end says as much as the beginning.
func shorten(lines [][]string, i, width int) {
	for n, line := range lines {
		if n == 0 || slices.Contains(sentences, lines[0][i]) {
			line[i] = cut(line[i], width)
		} else {
			line[i] = cutMiddle(line[i], width)
		}
	}
}

// cutMiddle shortens a text to so many columns, and says so in its middle.
func cutMiddle(text string, columns int) string {
	runes := []rune(text)
	if len(runes) <= columns {
		return text
	}
	begin := (columns - 1) / 2
	return string(runes[:begin]) + "…" + string(runes[len(runes)-(columns-1-begin):])
}

// without leaves a column out.
func without(lines [][]string, i int) [][]string {
	shorter := make([][]string, len(lines))
	for n, line := range lines {
		shorter[n] = slices.Delete(slices.Clone(line), i, i+1)
	}
	return shorter
}
