package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/ostree-importd/ostree-importd/importer"
)

// fetching is a sample in the middle of an import.
func fetching() importer.Progress {
	return importer.Progress{
		Stage: importer.StageFetch, Fraction: 0.256, LayersTotal: 5, LayersCached: 2, LayersDone: 1,
		Bytes: 30_000_000, BytesTotal: 90_000_000,
		Running: []importer.LayerProgress{
			{Index: 1, Digest: layer, Bytes: 20_000_000, Size: 40_000_000, Attempt: 1},
			{Index: 2, Digest: layer, Bytes: 0, Size: 40_000_000, Attempt: 2},
		},
	}
}

func TestLinesOfADisplay(t *testing.T) {
	now := time.Unix(0, 0)
	var none *view
	v := none.next(fetching(), now)
	later := fetching()
	later.Bytes = 36_000_000
	fetch := v.next(later, now.Add(2*time.Second))
	steps := none.next(importer.Progress{Stage: importer.StageCheck, Fraction: 0.5, Steps: 1000, StepsTotal: 2000}, now)
	unknown := none.next(importer.Progress{Stage: importer.StageCollect, Fraction: -1, Steps: 12}, now)
	many := none.next(importer.Progress{Running: make([]importer.LayerProgress, 64)}, now)
	for _, test := range []struct {
		name  string
		width int
		got   []string
		want  []string
	}{
		{"fetching, 80 columns", 79, append(fetch.layerLines(79), fetch.totalLine(79)), []string{
			"layer e3b0c44298fc    [==============>             ]   50 %  20.0 MB of 40.0 MB",
			"retry e3b0c44298fc    [>                               ]    0 %  0 B of 40.0 MB",
			"fetching layers       [==>      ]   25 %  36.0 MB of 90.0 MB  3.0 MB/s  6s left",
		}},
		{"fetching, 40 columns", 39, append(fetch.layerLines(39), fetch.totalLine(39)), []string{
			"layer e3b0c44298fc    [====>   ]   50 %",
			"retry e3b0c44298fc    [>       ]    0 %",
			"fetching layers       [==>     ]   25 %",
		}},
		{"landing", 39, []string{layerLine(importer.LayerProgress{Digest: layer, Bytes: 5000, Size: 5000, Attempt: 2}, 39)}, []string{
			"landing e3b0c44298fc  5.0 KB",
		}},
		{"steps, 40 columns", 39, []string{steps.totalLine(39)}, []string{"checking objects      [====>   ]   50 %"}},
		{"nothing known", 39, []string{unknown.totalLine(39)}, []string{"collecting garbage: 12"}},
		{"hardly any room", 8, []string{fetch.totalLine(8)}, []string{"fetchin…"}},
		{"no room", 0, []string{fetch.totalLine(0)}, []string{""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, line := range test.got {
				if line != test.want[i] || utf8.RuneCountInString(line) > test.width {
					t.Errorf("\n%s, want\n%s", line, test.want[i])
				}
			}
		})
	}
	if got := many.layerLines(79); len(got) != maxLayerLines+1 || got[maxLayerLines] != "and 58 layers more" {
		t.Errorf("lines of many layers: %q", got)
	}
	for width := range 120 {
		for _, line := range append(fetch.layerLines(width), fetch.totalLine(width), steps.totalLine(width), unknown.totalLine(width)) {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d columns on a terminal of %d: %q", n, width, line)
			}
		}
	}
}

// TestDisplayOnATerminal looks at what a terminal emulator shows.
func TestDisplayOnATerminal(t *testing.T) {
	for _, test := range []struct {
		columns int
		want    string
	}{
		{80, `
2 of 5 layers present, 90.0 MB to fetch
layer e3b0c44298fc    [==============>             ]   50 %  20.0 MB of 40.0 MB
retry e3b0c44298fc    [>                               ]    0 %  0 B of 40.0 MB
fetching layers       [=======>                    ]   25 %  30.0 MB of 90.0 MB`},
		{40, `
2 of 5 layers present, 90.0 MB to fetch
layer e3b0c44298fc    [====>   ]   50 %
retry e3b0c44298fc    [>       ]    0 %
fetching layers       [==>     ]   25 %`},
	} {
		screen := newScreen(t, test.columns)
		b := newBars(screen.tty)
		b.update(importer.Progress{Stage: importer.StageOpen, Fraction: -1})
		screen.await(t, "opening the image")
		b.update(fetching())
		screen.await(t, strings.TrimPrefix(test.want, "\n"))
		merging := fetching()
		merging.Stage, merging.Fraction, merging.Running = importer.StageMerge, 0.8, nil
		b.update(merging)
		screen.await(t, "merging layers")
		b.close()
		screen.await(t, "2 of 5 layers present, 90.0 MB to fetch$")
	}
}

// screen is a terminal and what it shows.
type screen struct {
	tty      *os.File
	emulator vt10x.Terminal
	changed  chan struct{}
}

func newScreen(t *testing.T, columns int) *screen {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	const rows = 24
	if err := pty.Setsize(tty, &pty.Winsize{Cols: uint16(columns), Rows: rows}); err != nil {
		t.Fatal(err)
	}
	s := &screen{tty: tty, emulator: vt10x.New(vt10x.WithSize(columns, rows), vt10x.WithWriter(io.Discard)), changed: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			if err != nil { // nobody has the other side open
				return
			}
			_, _ = s.emulator.Write(buffer[:n])
			select {
			case s.changed <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		tty.Close()
		<-done
		master.Close()
	})
	return s
}

// await waits until the screen shows a text, which ends the screen if it ends in "$".
func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		got := strings.Split(s.emulator.String(), "\n")
		for i := range got {
			got[i] = strings.TrimRight(got[i], " ")
		}
		shown := strings.TrimRight(strings.Join(got, "\n"), "\n")
		if all, whole := strings.CutSuffix(want, "$"); whole && shown == all || !whole && strings.Contains(shown, want) {
			return
		}
		select {
		case <-s.changed:
		case <-timeout:
			t.Fatalf("the screen shows\n%s\nand not\n%s", shown, want)
		}
	}
}
