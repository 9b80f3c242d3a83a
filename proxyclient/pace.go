package proxyclient

import "time"

const (
	// minRate is how many bytes per second a stream must bring on average while somebody waits for
	// them.
	minRate = 1 << 10
	// rateWindow is the time over which that is measured.
	rateWindow = 60 * time.Second
)

// pace finds out that a stream is too slow. Each quota of bytes must come within window, counting
// only the time in which the reader waited for data: a reader that is busy elsewhere does not make
// the source slow.
type pace struct {
	window time.Duration
	waited time.Duration // since the last quota was complete
	got    int64         // since then
}

// left returns how long the next read may wait.
func (p *pace) left() time.Duration { return p.window - p.waited }

// note records a read that took some time and brought n bytes. It reports whether the stream is
// fast enough.
func (p *pace) note(took time.Duration, n int) bool {
	p.waited += took
	p.got += int64(n)
	if p.got >= p.quota() {
		p.waited, p.got = 0, 0
	}
	return p.waited < p.window
}

func (p *pace) quota() int64 { return int64(minRate * p.window.Seconds()) }
