package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// display shows the progress of a pull or another operation. Its methods are called from one
// goroutine.
type display interface {
	update(importer.Progress)
	// note says something else in one line.
	note(text string)
	// close ends the display; what follows is printed below it.
	close()
}

// newDisplay chooses: bars on a terminal, calm lines elsewhere, nothing when
// quiet.
func newDisplay(w *os.File, quiet bool) display {
	switch {
	case quiet:
		return silent{}
	case term.IsTerminal(int(w.Fd())):
		return newBars(w)
	}
	return &lines{w: w, now: time.Now}
}

type silent struct{}

func (silent) update(importer.Progress) {}
func (silent) note(string)              {}
func (silent) close()                   {}

// linesInterval is the least time between two lines that differ in bytes or
// steps only.
const linesInterval = 5 * time.Second

// lines prints a line per stage and finished layer, and one now and then
// while bytes come in.
type lines struct {
	w       io.Writer
	now     func() time.Time
	first   headline
	last    importer.Progress
	printed time.Time
}

func (l *lines) update(p importer.Progress) {
	if text := l.first.text(p); text != "" {
		fmt.Fprintln(l.w, text)
	}
	news := p.Stage != l.last.Stage || p.LayersDone != l.last.LayersDone
	moved := p.Bytes != l.last.Bytes || p.Steps != l.last.Steps
	if !news && (!moved || l.now().Sub(l.printed) < linesInterval) {
		return
	}
	l.last, l.printed = p, l.now()
	fmt.Fprintln(l.w, progressText(p))
}

func (l *lines) note(text string) { fmt.Fprintln(l.w, text) }

func (l *lines) close() {}

// headline is what an import begins with: what is here, and what is to be
// fetched. Its zero value has not been told.
type headline struct{ told bool }

// text is the line, "" when it has been told or nothing is known yet.
func (h *headline) text(p importer.Progress) string {
	switch p.Stage {
	case importer.StagePlan, importer.StageFetch, importer.StageMerge, importer.StageLand:
		if !h.told && p.LayersTotal > 0 {
			h.told = true
			return fmt.Sprintf("%s, %s to fetch", daemon.PresentText(p.LayersCached, p.LayersTotal), size(p.BytesTotal))
		}
	}
	return ""
}

// progressText is a sample in one line.
func progressText(p importer.Progress) string {
	text := daemon.StageText(p.Stage)
	switch {
	case p.Stage == importer.StageFetch && p.LayersTotal > 0:
		text += fmt.Sprintf(": %d of %d, %s of %s", p.LayersDone, p.LayersTotal-p.LayersCached, size(p.Bytes), size(p.BytesTotal))
	case p.Stage == importer.StageEncapsulate && p.LayersTotal > 0:
		text += fmt.Sprintf(": %d of %d", p.LayersDone, p.LayersTotal)
	case p.StepsTotal > 0:
		text += fmt.Sprintf(": %d of %d", p.Steps, p.StepsTotal)
	case p.Steps > 0:
		text += fmt.Sprintf(": %d", p.Steps)
	}
	if p.Fraction > 0 {
		text += fmt.Sprintf(", %d %%", daemon.Percent(p))
	}
	return text
}
