package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

const (
	// barsRefresh is how often the terminal is redrawn.
	barsRefresh = 150 * time.Millisecond
	// maxLayerLines bounds the lines of running layers, so that they fit on a
	// small terminal.
	maxLayerLines = 6
	// minBar and maxBar bound the width of a bar, in columns. A line that has no
	// room for the smaller one has none.
	minBar, maxBar = 10, 40
)

// bars redraws some lines at the end of a terminal: one per running layer, and
// one for all. Before them stands, for good, what is to be fetched.
type bars struct {
	progress *mpb.Progress
	bar      *mpb.Bar             // draws all lines
	frame    atomic.Pointer[view] // what it draws next
	first    headline
}

// view is what there is to see of an operation.
type view struct {
	importer.Progress
	began time.Time
	at    time.Time
	rate  float64 // bytes per second; 0: not known
}

func newBars(w io.Writer) *bars {
	return &bars{progress: mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(barsRefresh))}
}

func (b *bars) update(p importer.Progress) {
	if text := b.first.text(p); text != "" {
		fmt.Fprintln(b.progress, text)
	}
	b.frame.Store(b.frame.Load().next(p, time.Now()))
	if b.bar == nil {
		layers := mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
			lines := b.frame.Load().layerLines(s.AvailableWidth - 1)
			slices.Reverse(lines) // mpb puts the last one on top
			for _, line := range lines {
				fmt.Fprintln(w, line)
			}
			return nil
		})
		total := mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
			_, err := io.WriteString(w, b.frame.Load().totalLine(s.AvailableWidth-1)) // a full line would wrap on some terminals
			return err
		})
		b.bar = b.progress.MustAdd(0, total, mpb.BarFillerTrim(), mpb.BarExtender(layers, true))
	}
}

func (b *bars) note(text string) { fmt.Fprintln(b.progress, text) }

// close removes the lines: how it ended is said below.
func (b *bars) close() {
	if b.bar != nil {
		b.bar.Abort(true)
	}
	b.progress.Wait()
}

// rateMemory is how much of the rate so far is kept when a new sample comes.
const rateMemory = 0.8

// next is the view with a new sample; v is nil before the first one.
func (v *view) next(p importer.Progress, now time.Time) *view {
	if v == nil {
		return &view{Progress: p, began: now, at: now}
	}
	n := &view{Progress: p, began: v.began, at: now, rate: v.rate}
	elapsed := now.Sub(v.at).Seconds()
	switch {
	case p.Stage != importer.StageFetch || v.Stage != importer.StageFetch:
		n.rate = 0
	case elapsed > 0 && p.Bytes >= v.Bytes:
		rate := float64(p.Bytes-v.Bytes) / elapsed
		if v.rate > 0 {
			rate = rateMemory*v.rate + (1-rateMemory)*rate
		}
		n.rate = rate
	}
	return n
}

// layerLines are the lines of the running layers, each at most width columns.
func (v *view) layerLines(width int) []string {
	var lines []string
	for i, l := range v.Running {
		if i == maxLayerLines {
			return append(lines, cut(fmt.Sprintf("and %s more", count(len(v.Running)-i, "layer", "layers")), width))
		}
		lines = append(lines, layerLine(l, width))
	}
	return lines
}

// layerLine is the line of a running layer, at most width columns.
func layerLine(l importer.LayerProgress, width int) string {
	if l.Bytes >= l.Size { // it is not done before it has landed
		return barLine(width, "landing "+short(l.Digest), 1, size(l.Size))
	}
	label := "layer "
	if l.Attempt > 1 {
		label = "retry "
	}
	part := float64(l.Bytes) / float64(l.Size)
	return barLine(width, label+short(l.Digest), part, percent(part), size(l.Bytes)+" of "+size(l.Size))
}

// totalLine is the line for all, at most width columns.
func (v *view) totalLine(width int) string {
	label := daemon.StageText(v.Stage)
	if v.Fraction < 0 {
		if v.Steps > 0 {
			label += fmt.Sprintf(": %d", v.Steps)
		}
		return cut(label, width)
	}
	notes := []string{percent(v.Fraction)}
	switch {
	case v.StepsTotal > 0:
		notes = append(notes, fmt.Sprintf("%d of %d", v.Steps, v.StepsTotal))
	case v.BytesTotal > 0 && v.Stage == importer.StageFetch:
		notes = append(notes, size(v.Bytes)+" of "+size(v.BytesTotal))
	}
	if v.rate > 0 {
		notes = append(notes, size(uint64(v.rate))+"/s")
	}
	if left := v.left(); left > 0 {
		notes = append(notes, left.String()+" left")
	}
	return barLine(width, label, v.Fraction, notes...)
}

// left is how long the rest takes if it goes on as it went; 0: nobody knows.
func (v *view) left() time.Duration {
	const known = 0.05 // of an operation is too little to tell
	if v.Fraction < known {
		return 0
	}
	return time.Duration(float64(v.at.Sub(v.began)) * (1 - v.Fraction) / v.Fraction).Round(time.Second)
}

// barLine is a label, a bar and as many notes as fit on a line, the first ones
// first. The bars of lines with labels of usual lengths stand below each other.
func barLine(width int, label string, part float64, notes ...string) string {
	const labelWidth = 20
	line := fmt.Sprintf("%-*s", min(labelWidth, width), label)
	noted := ""
	for _, note := range notes {
		if len(line)+len("  ")+minBar+len(noted)+len("  ")+len(note) > width && noted != "" {
			break
		}
		noted += "  " + note
	}
	if room := min(width-len(line)-len("  ")-len(noted), maxBar); room >= minBar {
		line += "  " + bar(part, room)
	}
	return cut(strings.TrimRight(line, " ")+noted, width)
}

// bar is a bar of so many columns.
func bar(part float64, columns int) string {
	inner := columns - len("[]")
	done := min(int(part*float64(inner)), inner)
	text := strings.Repeat("=", done)
	if done < inner {
		text += ">"
	}
	return fmt.Sprintf("[%-*s]", inner, text)
}

func percent(part float64) string { return fmt.Sprintf("%3d %%", int(100*part)) }
