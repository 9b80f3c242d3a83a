package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/ostree-importd/ostree-importd/importer"
)

// display shows the progress of a pull or another operation. Its methods are called from one
// goroutine.
type display interface {
	update(importer.Progress)
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
func (silent) close()                   {}

// linesInterval is the least time between two lines that differ in bytes or
// steps only.
const linesInterval = 5 * time.Second

// lines prints a line per stage and finished layer, and one now and then
// while bytes come in.
type lines struct {
	w       io.Writer
	now     func() time.Time
	last    importer.Progress
	printed time.Time
}

func (l *lines) update(p importer.Progress) {
	news := p.Stage != l.last.Stage || p.LayersDone != l.last.LayersDone
	moved := p.Bytes != l.last.Bytes || p.Steps != l.last.Steps
	if !news && (!moved || l.now().Sub(l.printed) < linesInterval) {
		return
	}
	l.last, l.printed = p, l.now()
	fmt.Fprintln(l.w, progressText(p))
}

func (l *lines) close() {}

// progressText is a sample in one line.
func progressText(p importer.Progress) string {
	switch {
	case p.Stage == importer.StageFetch && p.LayersTotal > 0:
	case p.Stage == importer.StageEncapsulate && p.LayersTotal > 0:
		return fmt.Sprintf("%s: %d of %d", stageText(p.Stage), p.LayersDone, p.LayersTotal)
	case p.StepsTotal > 0:
		return fmt.Sprintf("%s: %d of %d", stageText(p.Stage), p.Steps, p.StepsTotal)
	case p.Steps > 0:
		return fmt.Sprintf("%s: %d", stageText(p.Stage), p.Steps)
	default:
		return stageText(p.Stage)
	}
	return fmt.Sprintf("fetching: %d of %s, %s of %s", p.LayersDone, count(p.LayersTotal-p.LayersCached, "layer", "layers"), size(p.Bytes), size(p.BytesTotal))
}

func stageText(stage importer.Stage) string {
	switch stage {
	case importer.StageReference, importer.StageOpen:
		return "opening the image"
	case importer.StageInit:
		return "making the repository"
	case importer.StageWait:
		return "waiting for others who work on the repository"
	case importer.StageManifest, importer.StageConfig:
		return "reading manifest and config"
	case importer.StagePlan:
		return "looking what is here"
	case importer.StageFetch:
		return "fetching layers"
	case importer.StageMerge:
		return "merging the layers"
	case importer.StageLand:
		return "writing the image"
	case importer.StageSignature:
		return "checking signatures"
	case importer.StageCollect:
		return "collecting"
	case importer.StageCopy:
		return "copying the image"
	case importer.StageCheck:
		return "checking objects"
	case importer.StageRepair:
		return "repairing"
	case importer.StageEncapsulate:
		return "making the layers"
	case importer.StageExport:
		return "writing the image out"
	case importer.StagePush:
		return "pushing the image"
	}
	return "waiting"
}
