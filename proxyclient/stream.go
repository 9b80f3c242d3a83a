package proxyclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// verdict is how the two kinds of streams tell whether the proxy sent all.
type verdict interface {
	// wait returns the proxy's verdict after the end of the data, or nil early
	// when aborted is closed.
	wait(s *stream) error
	// abandon is called when the data is closed before its end.
	abandon()
	// stalled is called when the data stopped, with the error to report.
	stalled(cause *Error)
}

// stream is the data of a blob or document. Reading to io.EOF is success: the
// size was right and the proxy reported no fault. The digest is the reader's to
// check. Read is for one goroutine; Close may be called at any time, by any.
type stream struct {
	proxy   *Proxy
	op      string
	size    int64 // -1: unknown
	data    *os.File
	verdict verdict
	pace    pace // Read's

	received int64 // Read's
	err      error // Read's last error, which stays

	mu      sync.Mutex
	stop    func() bool   // unhooks the context
	aborted chan struct{} // closed when cause is set
	cause   *Error        // why the stream was cut short
	ended   bool          // files are closed
	clean   bool          // read to the end, without a fault
}

// newStream makes a stream that ends with ctx, with its proxy, or by itself.
func (p *Proxy) newStream(ctx context.Context, op string, size int64, data *os.File, v verdict) *stream {
	s := &stream{proxy: p, op: op, size: size, data: data, verdict: v, pace: pace{window: p.cfg.Timeouts.Stall}, aborted: make(chan struct{})}
	p.mu.Lock()
	cause := p.cause
	if cause == nil {
		p.streams[s] = struct{}{}
	}
	p.mu.Unlock()
	if cause != nil {
		s.abort(cause)
		return s
	}
	stop := context.AfterFunc(ctx, func() { s.abort(contextError(op, ctx)) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended { // meanwhile
		stop()
	}
	s.stop = stop
	return s
}

// Read implements io.Reader. Every error but io.EOF is an *Error, and stays.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	began := time.Now()
	if err := s.data.SetReadDeadline(began.Add(s.pace.left())); err != nil {
		s.err = s.fault(err)
		return 0, s.err
	}
	n, err := s.data.Read(p)
	s.received += int64(n)
	fast := s.pace.note(time.Since(began), n)
	switch {
	case s.size >= 0 && s.received > s.size:
		n -= int(s.received - s.size)
		s.err = s.fail(&Error{Class: ClassIntegrity, Op: s.op, Message: fmt.Sprintf("the source sent more than the %d bytes that the descriptor says", s.size)})
	case err == io.EOF:
		s.err = s.finish()
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && !fast:
		s.err = s.tooSlow()
	case err != nil:
		s.err = s.fault(err)
	}
	return n, s.err
}

// tooSlow ends a stream that brings nothing, or less than it must.
func (s *stream) tooSlow() error {
	what := "the image proxy sent no data"
	if s.pace.got > 0 {
		what = fmt.Sprintf("too slow: the image proxy sent only %d bytes", s.pace.got)
	}
	cause := s.proxy.timedOut(s.op, what, s.pace.window)
	s.verdict.stalled(cause)
	return s.fail(cause)
}

// fault turns an error of the data's descriptor into the one to report.
func (s *stream) fault(err error) error {
	return s.fail(&Error{Class: ClassOther, Op: s.op, Message: fmt.Sprintf("cannot read from the image proxy: %v", err), Err: err})
}

// finish is called at the end of the data.
func (s *stream) finish() error {
	if err := s.verdict.wait(s); err != nil {
		return s.fail(err)
	}
	if s.size >= 0 && s.received < s.size {
		return s.fail(s.short())
	}
	s.mu.Lock()
	cut := s.cause
	s.clean = cut == nil
	s.mu.Unlock()
	if cut != nil {
		return cut
	}
	s.end()
	return io.EOF
}

// deathNotice is how long a process that ended mid-stream may take to be seen
// as ended.
const deathNotice = 250 * time.Millisecond

// short makes the error of a stream that ended too early: the process died, or
// else the source itself was short.
func (s *stream) short() *Error {
	timer := time.NewTimer(deathNotice)
	defer timer.Stop()
	select {
	case <-s.proxy.dead:
		return s.proxy.broken(s.op)
	case <-timer.C:
		return &Error{Class: ClassIntegrity, Op: s.op, Stderr: s.proxy.child.stderr.String(),
			Message: fmt.Sprintf("the source sent %d bytes of the %d that the descriptor says", s.received, s.size)}
	}
}

// fail ends the stream and returns the error to report: the reason why it was
// cut short, if it was, else err.
func (s *stream) fail(err error) error {
	e, ok := err.(*Error)
	if !ok {
		e = &Error{Class: ClassOther, Op: s.op, Message: err.Error(), Err: err}
	}
	s.abort(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// abort cuts the stream short; a Read under way returns. The first cause stays.
func (s *stream) abort(cause *Error) {
	s.mu.Lock()
	if s.cause != nil || s.clean {
		s.mu.Unlock()
		return
	}
	s.cause = cause.forOp(s.op)
	close(s.aborted)
	s.mu.Unlock()
	s.end()
	s.verdict.abandon()
}

// end frees what the stream holds.
func (s *stream) end() {
	s.mu.Lock()
	stop := s.stop
	ended := s.ended
	s.ended = true
	s.mu.Unlock()
	if ended {
		return
	}
	if stop != nil {
		stop()
	}
	s.data.Close()
	s.proxy.mu.Lock()
	delete(s.proxy.streams, s)
	s.proxy.mu.Unlock()
}

// Close releases the stream. Before the end of the data it cuts the stream
// short, without waiting for anything.
func (s *stream) Close() error {
	s.abort(&Error{Class: ClassCanceled, Message: "the stream was closed", Err: os.ErrClosed})
	return nil
}

// wasClean tells whether the stream was read to its end without a fault.
func (s *stream) wasClean() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clean
}
