package proxyclient

import (
	"context"
	"sync"
	"time"
)

// pipeVerdict is that of streams which FinishPipe ends.
type pipeVerdict struct {
	proxy *Proxy
	done  chan struct{} // closed when err is set
	err   error

	mu    sync.Mutex
	timer *time.Timer
}

func (v *pipeVerdict) wait(s *stream) error {
	v.expect()
	select {
	case <-v.done:
		return v.err
	case <-s.aborted:
		return nil
	}
}

func (v *pipeVerdict) abandon() { v.expect() }

// expect starts the limit for the reply: there is no more data to wait for.
func (v *pipeVerdict) expect() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.done:
		return
	default:
	}
	if v.timer == nil {
		limit := v.proxy.cfg.Timeouts.Control
		v.timer = time.AfterFunc(limit, func() { v.proxy.fail(v.proxy.timedOut("FinishPipe", "no answer from the image proxy", limit)) })
	}
}

// stalled kills the process: it is waiting inside FinishPipe, for ever.
func (v *pipeVerdict) stalled(cause *Error) { v.proxy.fail(cause) }

func (v *pipeVerdict) settle(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.timer != nil {
		v.timer.Stop()
	}
	v.err = err
	close(v.done)
}

// openPipe makes a call that replies with a pipe, sends FinishPipe at once, and
// returns the reply and the stream. The channel is held until the verdict, with
// nothing in between: the data must be drained while FinishPipe waits.
// size is what the stream must have, -1 if that is not known.
func (p *Proxy) openPipe(ctx context.Context, size int64, op string, args ...any) (reply, *stream, error) {
	if err := p.acquire(ctx, op); err != nil {
		return reply{}, nil, err
	}
	type outcome struct {
		reply  reply
		stream *stream
		err    error
	}
	done := make(chan outcome)
	deliver := func(o outcome) {
		select {
		case done <- o:
		case <-ctx.Done(): // which has cut the stream short, too
		}
	}
	go func() {
		defer p.tasks.Done()
		v := &pipeVerdict{proxy: p, done: make(chan struct{})}
		r, s, err := p.startPipe(ctx, v, size, op, args...)
		if err != nil {
			p.release()
			deliver(outcome{err: err})
			return
		}
		deliver(outcome{reply: r, stream: s})
		_, err = p.transact(shapeValue, "FinishPipe", r.PipeID)
		p.release()
		v.settle(err)
		if err != nil {
			s.fail(err) // now: what the pipe still holds is worth nothing, if it ends at all
		}
	}()
	select {
	case o := <-done:
		return o.reply, o.stream, o.err
	case <-ctx.Done():
		return reply{}, nil, contextError(op, ctx)
	}
}

func (p *Proxy) startPipe(ctx context.Context, v *pipeVerdict, size int64, op string, args ...any) (reply, *stream, error) {
	r, err := p.exchange(p.cfg.Timeouts.Control, shapePipe, op, args...)
	if err != nil {
		return reply{}, nil, err
	}
	files, err := r.takeFiles()
	if err != nil {
		return reply{}, nil, p.breach(op, err)
	}
	return r, p.newStream(ctx, op, size, files[0], v), nil
}
