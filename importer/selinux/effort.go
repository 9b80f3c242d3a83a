package selinux

import (
	"errors"
	"sync/atomic"
	"time"
)

// Bounds of the work for the labels of one tree, in steps: a step is an item of an expression at a
// character of a path, or a specification that is looked at. Debian's policy takes 430 for a path
// on average, and 5,000 for the worst. Without bounds an image could bring a policy and files whose
// product takes months.
const (
	maxSteps      = 16 << 20 // for the first path
	maxStepsAfter = 16 << 10 // more for each further path
)

// stepTime is what a step counts for in expressions that need backtracking, whose steps nobody
// counts.
const stepTime = 100 * time.Nanosecond

var errEffort = errors.New("its expressions take too much time for the paths of the image; use fewer or simpler ones in its policy")

// effort counts the work of a policy. Several goroutines may use it.
type effort struct {
	paths, steps atomic.Int64
}

// begin returns how many steps the next path may take.
func (e *effort) begin() int64 {
	return maxSteps + maxStepsAfter*(e.paths.Add(1)-1) - e.steps.Load()
}

func (e *effort) add(steps int64) { e.steps.Add(steps) }
