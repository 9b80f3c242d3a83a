package budget

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Default is the size of a budget for which nothing else is asked.
	Default = 256 << 20
	// Minimum is the smallest size of a budget with which images can be imported.
	Minimum = 64 << 20

	// Patience is how long somebody who waits for memory keeps those back who came later. Then a
	// need that is free is served, whoever came first: what holds the memory may wait for a slow
	// network.
	Patience = time.Minute

	// step is the least by which a share grows, so that small needs are not counted one by one.
	step = 1 << 20
)

// Budget is an amount of memory, in bytes. It is safe for concurrent use.
type Budget struct {
	size int64

	mu      sync.Mutex
	given   int64
	waiting list.List // of *waiter, first come first
}

// waiter is somebody who waits for a share.
type waiter struct {
	size  int64
	since time.Time
	ready chan struct{} // closed when the share is given
}

// New returns a budget of some size; 0 means Default.
func New(size int64) *Budget {
	if size == 0 {
		size = Default
	}
	return &Budget{size: size}
}

// Alone returns a share of a Default budget that nobody else uses.
func Alone() *Share { return &Share{budget: New(0)} }

// ErrLimit is in the chain of every *LimitError.
var ErrLimit = errors.New("more memory than there is")

// LimitError is the error for what needs more than the whole budget.
type LimitError struct {
	Need, Size int64 // bytes
}

// Unwrap returns ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }

func (e *LimitError) Error() string {
	return fmt.Sprintf("it needs at least %d MiB of memory, more than the %d MiB that all work on images has together", (e.Need+1<<20-1)>>20, e.Size>>20)
}

// outgrown is the error for what needs more than is free, which is the reason to begin again with a
// larger share.
type outgrown struct {
	need int64 // bytes, at least
}

func (e *outgrown) Error() string {
	return fmt.Sprintf("%d MiB of memory are not free now", e.need>>20)
}

// Run waits for a share of at least n bytes, or of the whole budget, and calls work with it. When
// work returns the share is given back. An error of Take that is in the chain of the error of work
// makes Run begin again, if the memory can be had at all, or is returned. The error of the wait is
// the cause that ctx has ended for. The work must not call Run itself.
func (b *Budget) Run(ctx context.Context, n int64, work func(*Share) error) error {
	for {
		n = min(n, b.size)
		if err := b.acquire(ctx, n); err != nil {
			return err
		}
		s := &Share{budget: b, held: n}
		err := work(s)
		b.release(s.held)
		var larger *outgrown
		if !errors.As(err, &larger) {
			return err
		}
		n = larger.need
	}
}

// acquire takes n bytes when they are free and nobody who came before is to be served first.
func (b *Budget) acquire(ctx context.Context, n int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := &waiter{size: n, since: time.Now(), ready: make(chan struct{})}
	b.mu.Lock()
	place := b.waiting.PushBack(w)
	b.serve()
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	default:
	}
	impatient := time.AfterFunc(Patience, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.serve()
	})
	defer impatient.Stop()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		b.leave(place)
		return context.Cause(ctx)
	}
}

// leave ends a wait that has lost its purpose.
func (b *Budget) leave(place *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := place.Value.(*waiter)
	select {
	case <-w.ready: // served at the same moment
		b.given -= w.size
	default:
		b.waiting.Remove(place)
	}
	b.serve()
}

func (b *Budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.given -= n
	b.serve()
}

// serve gives those who wait their shares, in order, as far as the memory goes. Who does not fit
// keeps those back who came later, but only for Patience.
func (b *Budget) serve() {
	var next *list.Element
	for place := b.waiting.Front(); place != nil; place = next {
		next = place.Next()
		w := place.Value.(*waiter)
		switch {
		case b.given+w.size <= b.size:
			b.given += w.size
			b.waiting.Remove(place)
			close(w.ready)
		case time.Since(w.since) < Patience:
			return
		}
	}
}

// Share is a part of a budget that is held for one piece of work. It is safe for concurrent use.
type Share struct {
	budget     *Budget
	held, used int64 // guarded by budget.mu
}

// Take says that the work needs n more bytes. It never waits: they are taken from the share, which
// grows by what is free. The error is a
// *LimitError if the whole budget would not do, or one that Run must see. Either way nothing must be allocated.
func (s *Share) Take(n int64) error {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	needed := s.used + n
	if needed > b.size {
		return &LimitError{Need: needed, Size: b.size}
	}
	if missing := needed - s.held; missing > 0 {
		if b.given+missing > b.size {
			return &outgrown{need: max(needed, 2*s.held)}
		}
		grown := min(max(missing, step), b.size-b.given)
		s.held += grown
		b.given += grown
	}
	s.used = needed
	return nil
}
