package importer

import "github.com/opencontainers/go-digest"

// Progress is a sample of a running import or other operation. Byte counts are compressed sizes.
type Progress struct {
	Stage Stage `json:"stage"`
	// Fraction is the part of the whole operation that is done. It is never smaller than in a
	// sample before, and below 1: an operation is done when it returns. -1 stands for not known,
	// which only samples before all others say.
	Fraction float64 `json:"fraction"`

	LayersTotal  int             `json:"layers-total"` // distinct layers, cached ones included
	LayersCached int             `json:"layers-cached"`
	LayersDone   int             `json:"layers-done"` // of those that had to be fetched
	Bytes        uint64          `json:"bytes"`       // of finished layers and of the attempts that run
	BytesCached  uint64          `json:"bytes-cached"`
	BytesTotal   uint64          `json:"bytes-total"` // of the layers to fetch
	Running      []LayerProgress `json:"running"`     // by index
	// Steps and StepsTotal count what an operation other than an import works through: objects,
	// layers or refs. A total of 0 is not known, and one that is can grow.
	Steps      uint64 `json:"steps,omitempty"`
	StepsTotal uint64 `json:"steps-total,omitempty"`
}

// LayerProgress is a layer that is being fetched.
type LayerProgress struct {
	Index   int           `json:"index"` // counted from 1
	Digest  digest.Digest `json:"digest"`
	Bytes   uint64        `json:"bytes"`
	Size    uint64        `json:"size"`
	Attempt int           `json:"attempt"` // counted from 1; 0 while the layer waits for memory
}

// unmeasured is a stage that nobody knows the length of.
func unmeasured(stage Stage) Progress { return Progress{Stage: stage, Fraction: -1} }

// steps is a stage that is nothing but its steps.
func steps(stage Stage, done, total uint64) Progress {
	return Progress{Stage: stage, Fraction: fraction(done, total), Steps: done, StepsTotal: total}
}

// fraction is done of total, -1 while that is 0, which stands for not known.
func fraction(done, total uint64) float64 {
	if total == 0 {
		return -1
	}
	return float64(done) / float64(total)
}

// maxFraction is the largest part of an operation that is told to be done while it runs: less would
// be shown as all by those who round.
const maxFraction = 0.99

// steady passes the samples of one operation on to send, which may be nil. Its fractions keep what
// Progress promises, however often the work turns out to be more than it seemed.
func steady(send func(Progress)) func(Progress) {
	if send == nil {
		return nil
	}
	reached := -1.0
	return func(p Progress) {
		reached = max(reached, min(p.Fraction, maxFraction))
		p.Fraction = reached
		send(p)
	}
}

// part passes the samples of a part of an operation on to send, which may be nil. from and to say
// which part it is.
func part(send func(Progress), from, to float64) func(Progress) {
	if send == nil {
		return nil
	}
	return func(p Progress) {
		p.Fraction = from + max(0, p.Fraction)*(to-from)
		send(p)
	}
}
