package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ostree-importd/ostree-importd/importer"
)

// narrow is a terminal.
type narrow struct {
	bytes.Buffer
	columns int
}

func (n *narrow) Columns() int { return n.columns }

func storedExamples() []importer.Image {
	image := importer.Image{
		Reference: "docker://registry.example.com/team/os:stable", ManifestDigest: layer, Commit: strings.Repeat("c", 64),
		Version: "41.20240506.0", Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), Size: 1_234_000_000, SizeUnique: 45_000_000,
	}
	broken := image
	broken.Reference, broken.Broken = "oci:/srv/images/os:1", "layer 3/5 sha256:0123456789ab: object is missing; `ostree-importctl verify --repair` mends it"
	return []importer.Image{image, broken}
}

func TestTablesOfATerminal(t *testing.T) {
	for _, test := range []struct {
		columns int
		want    string
	}{
		{80, `IMAGE                                         VERSION        STATE
docker://registry.example.com/team/os:stable  41.20240506.0  ok
oci:/srv/images/os:1                          41.20240506.0  broken: layer 3…
`},
		{40, `IMAGE                   STATE
docker://r…m/os:stable  ok
oci:/srv/images/os:1    broken: layer 3…
`},
	} {
		out := &narrow{columns: test.columns}
		if err := printImages(out, storedExamples()); err != nil || out.String() != test.want {
			t.Errorf("%d columns: %v, and\n%swant\n%s", test.columns, err, out.String(), test.want)
		}
	}
	// Whoever reads from a pipe gets all.
	var all bytes.Buffer
	if err := printImages(&all, storedExamples()); err != nil || !strings.Contains(all.String(), "verify --repair` mends it") {
		t.Errorf("%v\n%s", err, all.String())
	}
}

// TestTablesFit: no line of a table is wider than the terminal, and each says something of each of
// its columns.
func TestTablesFit(t *testing.T) {
	long := strings.Repeat("word ", 30)
	tables := map[string][][]string{
		"jobs":    {{"JOB", "TYPE", "STATE", "STARTED", "IMAGE", "STATUS"}, {"12", "import", "running", "3m20s", "docker://registry.example.com/team/os:stable", long}},
		"layers":  {{"LAYER", "SIZE", "CREATED", "CREATED BY"}, {"0123456789ab", "123.4 MB", "2024-05-06T07:08:09Z", long}},
		"damage":  {{"LAYER", "PATH", "OBJECT", "PROBLEM"}, {"12 0123456789ab", "/usr/lib/" + strings.Repeat("x", 100), "0123456789ab.file", long}},
		"refs":    {{"STATE", "NAME", "REASON"}, {"keep", "sha256:" + strings.Repeat("0", 64), long}},
		"unicode": {{"IMAGE", "STATUS"}, {strings.Repeat("ä", 100), strings.Repeat("→", 100)}},
	}
	for name, lines := range tables {
		for _, columns := range []int{40, 80, 100, 132} {
			t.Run(fmt.Sprint(name, columns), func(t *testing.T) {
				out := &narrow{columns: columns}
				if err := table(out, lines[0], lines[1:]); err != nil {
					t.Fatal(err)
				}
				for _, line := range strings.Split(out.String(), "\n") {
					if n := utf8.RuneCountInString(line); n > columns || !utf8.ValidString(line) {
						t.Errorf("%d columns: %q", n, line)
					}
				}
			})
		}
	}
	small := &narrow{columns: 3}
	if err := table(small, []string{"IMAGE"}, [][]string{{"docker://h/x:1"}}); err != nil || small.String() != "IMAGE\ndoc…/x:1\n" {
		t.Errorf("%v, %q", err, small.String())
	}
}

func TestFieldsOfATerminal(t *testing.T) {
	pairs := [][2]string{{"Image", "docker://h/os:1"}, {"Manifest", layer.String()}, {"Left out", ""}, {"Broken", strings.Repeat("word ", 30)}}
	const whole = `Image:     docker://h/os:1
Manifest:  sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Broken:    `
	for columns, want := range map[int]string{
		0: whole, 40: whole, 100: whole,
		80: `Image:     docker://h/os:1
Manifest:
  sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Broken:    `,
	} {
		out := &narrow{columns: columns}
		if err := fields(out, pairs...); err != nil || out.String() != want+pairs[3][1]+"\n" {
			t.Errorf("%d columns: %v, and\n%s", columns, err, out.String())
		}
	}
}
