package budget

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checkEmpty wants everything given back and nobody waiting.
func checkEmpty(t *testing.T, b *Budget) {
	t.Helper()
	if b.given != 0 || b.waiting.Len() != 0 {
		t.Errorf("%d bytes are held, %d wait", b.given, b.waiting.Len())
	}
}

func TestTake(t *testing.T) {
	b := New(100 << 20)
	err := b.Run(t.Context(), 10<<20, func(s *Share) error {
		for range 100 {
			if err := s.Take(1 << 20); err != nil {
				return err
			}
		}
		return s.Take(1)
	})
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Need != 100<<20+1 || !strings.Contains(err.Error(), "101 MiB") || !strings.Contains(err.Error(), "100 MiB") {
		t.Errorf("error %v", err)
	}
	checkEmpty(t, b)
	if err := Alone().Take(Default + 1); !errors.As(err, &limit) {
		t.Errorf("error %v", err)
	}
}

// TestHoldersDontWait: pieces of work that each fit, but not together, all come to their end, and
// never hold more than there is.
func TestHoldersDontWait(t *testing.T) {
	const size, workers = 64 << 20, 24
	b := New(size)
	var all sync.WaitGroup
	var now, turns atomic.Int64
	for i := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			need := size/4 + random.Int64N(3*size/4)
			err := b.Run(t.Context(), 1<<20, func(s *Share) error {
				turns.Add(1)
				taken := int64(0)
				defer func() { now.Add(-taken) }()
				for taken < need {
					n := min(need-taken, 3<<20)
					if err := s.Take(n); err != nil {
						return fmt.Errorf("reading: %w", err)
					}
					if taken += n; now.Add(n) > size {
						t.Error("more was given than there is")
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("%d bytes: %v", need, err)
			}
		})
	}
	all.Wait()
	if turns.Load() > workers*8 { // one, and one for each doubling
		t.Errorf("%d turns of %d", turns.Load(), workers)
	}
	checkEmpty(t, b)
}

// TestOrder: a large need is not passed by small ones that come later.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		var order []int64
		var all sync.WaitGroup
		release := make(chan struct{})
		all.Go(func() {
			_ = b.Run(t.Context(), 60, func(*Share) error {
				<-release
				return nil
			})
		})
		synctest.Wait()
		for _, n := range []int64{90, 20, 100, 10} {
			all.Go(func() {
				_ = b.Run(t.Context(), n, func(*Share) error {
					order = append(order, n)
					return nil
				})
			})
			synctest.Wait()
		}
		close(release)
		all.Wait()
		if fmt.Sprint(order) != "[90 20 100 10]" {
			t.Errorf("served in the order %v", order)
		}
		checkEmpty(t, b)
	})
}

// TestPatience: somebody who holds memory for ever and somebody who waits for all of it stop nobody
// else for longer than Patience.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_ = b.Run(ctx, 10, func(*Share) error {
				<-ctx.Done()
				return nil
			})
		})
		synctest.Wait()
		var large error
		all.Go(func() { large = b.Run(ctx, 100, func(*Share) error { return nil }) })
		synctest.Wait()
		start := time.Now()
		for range 3 {
			if err := b.Run(t.Context(), 90, func(*Share) error { return nil }); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != Patience {
			t.Errorf("others waited for %v, want %v", took, Patience)
		}
		cancel()
		all.Wait()
		if large == nil {
			t.Error("what needs all of the memory was served beside somebody who holds some")
		}
		checkEmpty(t, b)
	})
}

// TestCanceledWait: who gives up waiting keeps nobody else from being served.
func TestCanceledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		err := b.Run(t.Context(), 50, func(*Share) error {
			waited, served := make(chan error), make(chan error)
			go func() { waited <- b.Run(ctx, 100, func(*Share) error { return nil }) }()
			synctest.Wait()
			go func() { served <- b.Run(t.Context(), 50, func(*Share) error { return nil }) }()
			synctest.Wait()
			cancel(gone)
			return errors.Join(<-served, errors.Join(<-waited, nil))
		})
		if !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
		if err := b.Run(ctx, 1, nil); err != gone {
			t.Errorf("error %v", err)
		}
		checkEmpty(t, b)
	})
}
