package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestSize(t *testing.T) {
	for _, test := range []struct {
		bytes uint64
		want  string
	}{
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 KB"},
		{1_550_000, "1.6 MB"},
		{582_000_000, "582.0 MB"},
		{7_300_000_000, "7.3 GB"},
	} {
		t.Run(test.want, func(t *testing.T) {
			if got := size(test.bytes); got != test.want {
				t.Errorf("size(%d) = %q, want %q", test.bytes, got, test.want)
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"short", "RUN true", "RUN true"},
		{"as long as fits", strings.Repeat("ä", 60), strings.Repeat("ä", 60)},
		{"too long", strings.Repeat("ä", 61), strings.Repeat("ä", 59) + "…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := oneLine(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDroppedText(t *testing.T) {
	got := droppedText(map[digest.Digest]map[string]uint32{
		"sha256:1": {"proc": 2, "run": 1},
		"sha256:2": {"proc": 3},
	})
	if want := "proc (5), run (1)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTextsOfImages: what an image says of itself must not command the terminal.
func TestTextsOfImages(t *testing.T) {
	const hostile = "1\x1b]0;x\a\u009b31m\n2\t3"
	image := &importer.Image{
		Version: hostile, Layers: []importer.ImageLayer{{CreatedBy: hostile}},
		Filtered: map[digest.Digest]map[string]uint32{"sha256:1": {hostile: 1}},
	}
	plan := &importer.Plan{Version: hostile, Layers: []importer.LayerPlan{{CreatedBy: hostile}}}
	var out bytes.Buffer
	if err := errors.Join(printImage(&out, image), printPlan(&out, plan)); err != nil {
		t.Fatal(err)
	}
	out.WriteString(summary(&importer.Result{Filtered: image.Filtered}, "image"))
	if n := strings.Count(out.String(), "1 ]0;x  31m 2 3"); n != 6 {
		t.Errorf("%d of 6 texts in %q", n, out.String())
	}
	if strings.ContainsFunc(strings.ReplaceAll(out.String(), "\n", ""), unicode.IsControl) {
		t.Errorf("control characters in %q", out.String())
	}
}

func TestLinesAreCalm(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	l := &lines{w: &out, now: func() time.Time { return now }}
	sample := importer.Progress{Stage: importer.StageFetch, LayersTotal: 3, LayersCached: 1, BytesTotal: 4000}
	step := func(after time.Duration, change func(*importer.Progress)) {
		now = now.Add(after)
		change(&sample)
		l.update(sample)
	}
	step(0, func(*importer.Progress) {})
	step(time.Second, func(p *importer.Progress) { p.Bytes = 1000 })
	step(5*time.Second, func(p *importer.Progress) { p.Bytes = 2000 })
	step(time.Minute, func(*importer.Progress) {})
	step(0, func(p *importer.Progress) { p.LayersDone, p.Bytes, p.Fraction = 1, 2500, 0.457 })
	step(0, func(p *importer.Progress) { p.Stage, p.Fraction = importer.StageMerge, 0.71 })
	want := `1 of 3 layers present, 4.0 KB to fetch
fetching layers: 0 of 2, 0 B of 4.0 KB
fetching layers: 0 of 2, 2.0 KB of 4.0 KB
fetching layers: 1 of 2, 2.5 KB of 4.0 KB, 45 %
merging layers, 71 %
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestLinesOfSteps(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	l := &lines{w: &out, now: func() time.Time { return now }}
	for _, step := range []struct {
		after time.Duration
		importer.Progress
	}{
		{0, importer.Progress{Stage: importer.StageCheck}},
		{time.Second, importer.Progress{Stage: importer.StageCheck, Steps: 5}},
		{5 * time.Second, importer.Progress{Stage: importer.StageCheck, Steps: 10}},
		{5 * time.Second, importer.Progress{Stage: importer.StageCheck, Steps: 20, StepsTotal: 40}},
		{time.Minute, importer.Progress{Stage: importer.StageCheck, Steps: 20, StepsTotal: 40}},
		{0, importer.Progress{Stage: importer.StageRepair}},
		{0, importer.Progress{Stage: importer.StageFetch, LayersTotal: 1, BytesTotal: 1000, Steps: 20, StepsTotal: 40}},
		{0, importer.Progress{Stage: importer.StageEncapsulate, LayersTotal: 2}},
		{0, importer.Progress{Stage: importer.StageEncapsulate, LayersTotal: 2, LayersDone: 1}},
	} {
		now = now.Add(step.after)
		l.update(step.Progress)
	}
	want := `checking objects
checking objects: 10
checking objects: 20 of 40
repairing
0 of 1 layer present, 1.0 KB to fetch
fetching layers: 0 of 1, 0 B of 1.0 KB
making the layers: 0 of 2
making the layers: 1 of 2
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBarsEndWithAnImportThatFails(t *testing.T) {
	var out bytes.Buffer
	b := newBars(&out)
	b.update(importer.Progress{Stage: importer.StageManifest})
	b.update(importer.Progress{Stage: importer.StageFetch, BytesTotal: 100, Bytes: 40, Running: []importer.LayerProgress{
		{Index: 1, Size: 60, Bytes: 60}, {Index: 2, Size: 40},
	}})
	b.update(importer.Progress{Stage: importer.StageFetch, BytesTotal: 100, Bytes: 60, Running: []importer.LayerProgress{{Index: 2, Size: 40}}})
	b.close() // returns, although neither bar is complete
}

func TestTextsOfAnImage(t *testing.T) {
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, test := range []struct{ name, got, want string }{
		{"never looked for an update", updateText(nil), ""},
		{"no update", updateText(&importer.Update{ManifestDigest: "sha256:1"}), ""},
		{
			"update", updateText(&importer.Update{Available: true, ManifestDigest: "sha256:1", Version: "2", Created: created, BytesToFetch: 5000}),
			"2, sha256:1 of 2024-05-06T07:08:09Z, 5.0 KB to fetch",
		},
		{"bare update", updateText(&importer.Update{Available: true, ManifestDigest: "sha256:1"}), "sha256:1, 0 B to fetch"},
		{"size", sizeText(&importer.Image{Size: 5, Layers: make([]importer.ImageLayer, 1)}), "5 B in 1 layer"},
		{"shared size", sizeText(&importer.Image{Size: 5, SizeShared: 2}), "5 B in 0 layers, 2 B of it shared with other images"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("%q, want %q", test.got, test.want)
			}
		})
	}
}
