package main

import (
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/ostree-importd/ostree-importd/importer"
)

// barsRefresh is how often the terminal is redrawn.
const barsRefresh = 150 * time.Millisecond

// bars shows a line per running layer and one for the total with rate and time
// left.
type bars struct {
	progress *mpb.Progress
	total    *mpb.Bar
	stage    importer.Stage
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
	b.stage = p.Stage
	if b.total == nil && p.BytesTotal > 0 {
		b.total = b.progress.AddBar(int64(p.BytesTotal), mpb.BarPriority(1<<20),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return stageText(b.stage) }, decor.WC{W: 26, C: decor.DindentRight})),
			mpb.AppendDecorators(
				decor.Counters(decor.SizeB1000(0), "% .1f / % .1f", decor.WCSyncSpace),
				decor.EwmaSpeed(decor.SizeB1000(0), "% .1f", 30, decor.WCSyncSpace),
				decor.EwmaETA(decor.ET_STYLE_GO, 30, decor.WCSyncSpace),
			))
	}
	if b.total != nil {
		b.total.EwmaSetCurrent(int64(p.Bytes), elapsed)
	}
	b.updateRunning(p.Running)
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
