package setup

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

// DefaultMemory is the memory, in MiB, that work on images shares unless
// something else is asked for.
const DefaultMemory = budget.Default >> 20

const (
	leastMemory = budget.Minimum >> 20
	mostMemory  = 1 << 20 // 1 TiB
	// otherMemory is what the process may use, in bytes, for everything else
	// before the garbage collector works harder.
	otherMemory = 128 << 20
)

// CheckMemory refuses a number of MiB with which no image can be imported.
func CheckMemory(mib int) error {
	if mib < leastMemory || mib > mostMemory {
		return fmt.Errorf("%d MiB of memory for images are out of range, want %d to %d", mib, leastMemory, mostMemory)
	}
	return nil
}

// limitMemory returns the budget of a process that gives images so many MiB.
// The garbage collector learns of it too: by itself it lets the memory that a
// finished layer has left grow to what is in use. An administrator who has set
// GOMEMLIMIT knows better.
func limitMemory(mib int) *budget.Budget {
	if mib == 0 {
		mib = DefaultMemory
	}
	size := int64(mib) << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(size + otherMemory)
	}
	return budget.New(size)
}
