package proxyclient

import (
	"context"
	"errors"
	"slices"
	"sync"
)

const (
	// maxIdle is how many children are kept that nobody uses.
	maxIdle = 4
	// maxShared is how many streams one child serves where it can serve several.
	maxShared = 16
	// maxStarts is how many children start at once, where each serves one stream.
	maxStarts = 4
)

// member is a child with the image opened in it.
type member struct {
	proxy   *Proxy
	image   *Image
	users   int  // under the pool's lock
	retired bool // serves nobody any more; under the pool's lock
}

// capacity is how many users the child serves at once.
func (m *member) capacity() int {
	if m.proxy.rawBlobs() {
		return maxShared
	}
	return 1
}

// usable tells whether the child is alive.
func (m *member) usable() bool {
	select {
	case <-m.proxy.dead:
		return false
	default:
		return true
	}
}

// pool keeps the children of a Source. A child serves again only after a use
// that ended well: after a fault or an abort it may hold connections and
// streams that nothing but its end frees, so it is replaced.
type pool struct {
	open   func(context.Context) (*member, error)
	starts chan struct{} // held while a child starts; where children are shared by one only, since the next caller can use it

	mu      sync.Mutex
	members []*member
	closed  bool
}

func newPool(open func(context.Context) (*member, error), first *member) *pool {
	starts := maxStarts
	if first.capacity() > 1 {
		starts = 1
	}
	return &pool{open: open, starts: make(chan struct{}, starts), members: []*member{first}}
}

// take returns a child for the caller's use, which give ends.
func (p *pool) take(ctx context.Context) (*member, error) {
	if m, err := p.free(); m != nil || err != nil {
		return m, err
	}
	select {
	case p.starts <- struct{}{}:
		defer func() { <-p.starts }()
	case <-ctx.Done():
		return nil, contextError("start", ctx)
	}
	if m, err := p.free(); m != nil || err != nil { // meanwhile
		return m, err
	}
	m, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		m.users = 1
		p.members = append(p.members, m)
	}
	p.mu.Unlock()
	if closed {
		m.proxy.discard()
		return nil, sourceClosed()
	}
	return m, nil
}

func sourceClosed() *Error {
	return &Error{Class: ClassCanceled, Op: "start", Message: "the image was closed", Err: errClosed}
}

// free returns a child that can serve one more, or nil.
func (p *pool) free() (*member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, sourceClosed()
	}
	for _, m := range p.members {
		if !m.retired && m.usable() && m.users < m.capacity() {
			m.users++
			return m, nil
		}
	}
	return nil, nil
}

// give ends a use of a child; clean says whether it ended well.
func (p *pool) give(m *member, clean bool) {
	p.mu.Lock()
	m.users--
	m.retired = m.retired || !clean
	idle := 0
	for _, other := range p.members {
		if other.users == 0 {
			idle++
		}
	}
	index := slices.Index(p.members, m)
	drop := m.users == 0 && index >= 0 && (m.retired || !m.usable() || idle > maxIdle)
	if drop {
		p.members = slices.Delete(p.members, index, index+1)
	}
	p.mu.Unlock()
	if drop {
		m.proxy.discard()
	}
}

// use runs do with a child.
func (p *pool) use(ctx context.Context, do func(*Image) error) error {
	m, err := p.take(ctx)
	if err != nil {
		return err
	}
	err = do(m.image)
	p.give(m, err == nil)
	return err
}

// close ends all children, and the streams on them.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	members := p.members
	p.members = nil
	p.mu.Unlock()
	errs := make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { errs[i] = m.proxy.Close() })
	}
	all.Wait()
	return errors.Join(errs...)
}
