package main

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/ostree-importd/ostree-importd/importer"
)

// barsRefresh is how often the terminal is redrawn.
const barsRefresh = 150 * time.Millisecond

// bars shows a line per running layer and one for the total: bytes with rate
// and time left, or steps where an operation counts those.
type bars struct {
	progress *mpb.Progress
	total    *mpb.Bar
	steps    bool         // total counts steps
	stage    atomic.Value // importer.Stage; the display reads it when it draws
	running  map[int]*mpb.Bar
	last     time.Time
}

func newBars(w io.Writer) *bars {
	return &bars{
		progress: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithRefreshRate(barsRefresh)),
		running:  map[int]*mpb.Bar{},
		last:     time.Now(),
	}
}

func (b *bars) update(p importer.Progress) {
	elapsed := time.Since(b.last)
	b.last = b.last.Add(elapsed)
	b.stage.Store(p.Stage)
	done, total, steps := p.Bytes, p.BytesTotal, p.StepsTotal > 0
	if steps {
		done, total = p.Steps, p.StepsTotal
	}
	if b.total != nil && total > 0 && steps != b.steps {
		b.total.Abort(true)
		b.total = nil
	}
	if b.total == nil && total > 0 {
		b.steps = steps
		known := int64(total)
		if steps {
			known = 0 // it can grow: what there is to do may be seen only on the way
		}
		b.total = b.progress.AddBar(known, mpb.BarPriority(1<<20),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return stageText(b.stage.Load().(importer.Stage)) }, decor.WC{W: 26, C: decor.DindentRight})),
			mpb.AppendDecorators(counters(steps)...))
	}
	if b.total != nil && steps == b.steps {
		if steps {
			b.total.SetTotal(int64(total), false)
		}
		b.total.EwmaSetCurrent(int64(done), elapsed)
	}
	b.updateRunning(p.Running)
}

// counters are what stands behind a total.
func counters(steps bool) []decor.Decorator {
	left := decor.EwmaETA(decor.ET_STYLE_GO, 30, decor.WCSyncSpace)
	if steps {
		return []decor.Decorator{decor.CountersNoUnit("%d / %d", decor.WCSyncSpace), left}
	}
	return []decor.Decorator{
		decor.Counters(decor.SizeB1000(0), "% .1f / % .1f", decor.WCSyncSpace),
		decor.EwmaSpeed(decor.SizeB1000(0), "% .1f", 30, decor.WCSyncSpace),
		left,
	}
}

// updateRunning adds bars of layers that started, moves those that run, and
// takes those that ended from the screen.
func (b *bars) updateRunning(layers []importer.LayerProgress) {
	ended := make(map[int]*mpb.Bar, len(b.running))
	for index, bar := range b.running {
		ended[index] = bar
	}
	for _, layer := range layers {
		bar := b.running[layer.Index]
		if bar == nil {
			bar = b.progress.AddBar(int64(layer.Size), mpb.BarPriority(layer.Index), mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name("layer "+short(layer.Digest), decor.WC{W: 26, C: decor.DindentRight})),
				mpb.AppendDecorators(decor.Counters(decor.SizeB1000(0), "% .1f / % .1f", decor.WCSyncSpace)))
			b.running[layer.Index] = bar
		}
		bar.SetCurrent(min(int64(layer.Bytes), int64(layer.Size)-1))
		delete(ended, layer.Index)
	}
	for index, bar := range ended {
		bar.Abort(true)
		delete(b.running, index)
	}
}

func (b *bars) close() {
	for _, bar := range b.running {
		bar.Abort(true)
	}
	if b.total != nil {
		b.total.Abort(false)
	}
	b.progress.Wait()
}
