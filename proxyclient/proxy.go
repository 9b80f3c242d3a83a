package proxyclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Proxy is one running proxy process: the low-level client, which has the whole
// protocol. All methods may be called concurrently; the proxy itself handles one
// request at a time, and a stream of a protocol before 0.2.8 occupies it until
// the stream has ended. Source arranges children so that this does not matter.
//
// When a control call exceeds its limit the process is killed, because there is
// no other way to cancel; every call and stream then fails with that error.
type Proxy struct {
	cfg     Config
	child   *child
	launch  *launch
	wire    *wire
	version Version

	channel chan struct{}  // held by the one call that uses the socket
	dead    chan struct{}  // closed when cause is set
	tasks   sync.WaitGroup // calls and the verdicts of streams

	mu      sync.Mutex
	cause   *Error // why the process is no longer usable; the first one stays
	streams map[*stream]struct{}
	images  map[uint64]struct{} // opened and not closed
	noRaw   bool                // GetRawBlob turned out to be missing

	closeOnce sync.Once
	closeErr  error
}

// Start runs the proxy and agrees on the protocol. ctx governs the start only.
func Start(ctx context.Context, cfg Config) (*Proxy, error) {
	return start(ctx, cfg.withDefaults(), &target{})
}

// start is Start for a proxy that is to open the target.
func start(ctx context.Context, cfg Config, t *target) (*Proxy, error) {
	if err := ctx.Err(); err != nil {
		return nil, contextError("start", ctx)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l, err := newLaunch(cfg, t)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, launch: l,
		channel: make(chan struct{}, 1), dead: make(chan struct{}),
		streams: map[*stream]struct{}{}, images: map[uint64]struct{}{},
	}
	p.child, err = startChild(cfg, l, func(cause *Error) { p.fail(cause) })
	l.closeFiles()
	if err != nil {
		if left := l.release(); left != nil {
			cfg.Log.WithError(left).Warn("the image proxy's temporary directory was not removed")
		}
		return nil, err
	}
	p.wire = newWire(p.child.socket)
	p.tasks.Go(func() {
		<-p.child.exited
		p.fail(p.child.deathError())
	})
	if err := p.initialize(ctx); err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

func (p *Proxy) initialize(ctx context.Context) error {
	const op = "Initialize"
	r, err := p.call(ctx, p.cfg.Timeouts.Initialize, op)
	if err != nil {
		return err
	}
	text, err := r.text()
	if err != nil {
		return p.breach(op, err)
	}
	if p.version, err = parseVersion(text); err != nil {
		return err
	}
	if !p.version.EnforcesPolicy() {
		return p.cfg.checkIgnoredPolicy(p.version)
	}
	return nil
}

// Version returns the protocol version.
func (p *Proxy) Version() Version { return p.version }

// Close ends the process and every stream, and removes its temporary files. It
// takes at most some seconds, and no time when a call is being waited for.
func (p *Proxy) Close() error {
	p.closeOnce.Do(func() { p.closeErr = p.shutdown() })
	return p.closeErr
}

// discard is Close where another error, or none, is what matters.
func (p *Proxy) discard() {
	if err := p.Close(); err != nil {
		p.cfg.Log.WithError(err).Warn("an image proxy was not cleaned up")
	}
}

var errClosed = errors.New("the image proxy was closed")

func (p *Proxy) shutdown() error {
	closed := &Error{Class: ClassCanceled, Op: "close", Message: errClosed.Error(), Err: errClosed}
	select {
	case p.channel <- struct{}{}:
		if p.retire(closed) {
			p.farewell()
		}
		<-p.channel
	default: // a call or stream is under way, and can't be cut short
		p.retire(closed)
	}
	p.child.kill()
	<-p.child.exited
	p.child.socket.Close()
	p.tasks.Wait()
	if err := p.launch.release(); err != nil {
		return &Error{Class: ClassOther, Op: "close", Message: fmt.Sprintf("cannot remove the proxy's temporary directory: %v", err), Err: err}
	}
	return nil
}

// stopWait is how long a process may take to clean up and end.
const stopWait = 5 * time.Second

// farewell lets the process clean up after itself and end. The caller holds the
// channel. Old versions keep temporary files of images that are not closed.
func (p *Proxy) farewell() {
	stop := time.AfterFunc(stopWait, p.child.kill)
	defer stop.Stop()
	p.mu.Lock()
	images := slices.Sorted(maps.Keys(p.images))
	p.mu.Unlock()
	for _, id := range images {
		if p.send("CloseImage", id) != nil {
			return
		}
		r, err := p.wire.receive()
		if err != nil {
			return
		}
		r.closeFDs()
	}
	if p.send("Shutdown") == nil { // it is not replied to
		<-p.child.exited
	}
}

// retire makes the process unusable for the reason given, and fails its streams.
// It reports whether it was usable until now.
func (p *Proxy) retire(cause *Error) bool {
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return false
	}
	p.cause = cause
	close(p.dead)
	streams := slices.Collect(maps.Keys(p.streams))
	p.mu.Unlock()
	for _, s := range streams {
		s.abort(cause)
	}
	return true
}

// fail is retire for a process that is not worth a farewell.
func (p *Proxy) fail(cause *Error) {
	p.retire(cause)
	p.child.kill()
}

// broken returns why the process is unusable, as an error of op.
func (p *Proxy) broken(op string) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause.forOp(op)
}

// breach fails the process for a reply that can't be trusted any more.
func (p *Proxy) breach(op string, err error) error {
	if !errors.Is(err, errMalformed) {
		err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	p.fail(&Error{Class: ClassChildDied, Op: op, Message: printable(err.Error()), Stderr: p.child.stderr.String(), Err: err})
	return p.broken(op)
}

// timedOut makes the error of a limit that was exceeded.
func (p *Proxy) timedOut(op, what string, limit time.Duration) *Error {
	return &Error{Class: ClassTimeout, Op: op, Message: fmt.Sprintf("%s for %v; check the network and the registry, then try again", what, limit), Stderr: p.child.stderr.String()}
}

// acquire takes the channel and counts a task, which the caller must run: it
// releases the channel, and calls tasks.Done at its end.
func (p *Proxy) acquire(ctx context.Context, op string) error {
	select {
	case p.channel <- struct{}{}:
	case <-ctx.Done():
		return contextError(op, ctx)
	case <-p.dead:
		return p.broken(op)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil {
		p.release()
		return p.cause.forOp(op)
	}
	p.tasks.Add(1) // under the lock: Close waits for tasks after it has set the cause
	return nil
}

func (p *Proxy) release() { <-p.channel }

// call makes one control call with a reply that is only a value.
func (p *Proxy) call(ctx context.Context, limit time.Duration, op string, args ...any) (reply, error) {
	return p.request(ctx, limit, shapeValue, op, args...)
}

// request makes one control call. When ctx ends first, the reply is still waited
// for in the background and discarded, so that other users of the process go on.
func (p *Proxy) request(ctx context.Context, limit time.Duration, want shape, op string, args ...any) (reply, error) {
	if err := p.acquire(ctx, op); err != nil {
		return reply{}, err
	}
	type outcome struct {
		reply reply
		err   error
	}
	done := make(chan outcome)
	go func() {
		defer p.tasks.Done()
		r, err := p.exchange(limit, want, op, args...)
		p.release()
		select {
		case done <- outcome{r, err}:
		case <-ctx.Done():
			r.closeFDs()
		}
	}()
	select {
	case o := <-done:
		return o.reply, o.err
	case <-ctx.Done():
		return reply{}, contextError(op, ctx)
	}
}

// exchange sends a request and receives its reply within the limit. The caller
// holds the channel. An error reply, or one of the wrong shape, is an error.
func (p *Proxy) exchange(limit time.Duration, want shape, op string, args ...any) (reply, error) {
	timer := time.AfterFunc(limit, func() { p.fail(p.timedOut(op, "no answer from the image proxy", limit)) })
	p.child.throttle.begin(timer, limit)
	defer p.child.throttle.end()
	return p.transact(want, op, args...)
}

// transact is exchange without a limit of its own.
func (p *Proxy) transact(want shape, op string, args ...any) (reply, error) {
	if err := p.send(op, args...); err != nil {
		return reply{}, err
	}
	r, err := p.wire.receive()
	switch {
	case errors.Is(err, errMalformed):
		return reply{}, p.breach(op, err)
	case err != nil:
		return reply{}, p.gone(op)
	}
	if !r.Success {
		if len(r.fds) > 0 || r.PipeID != 0 {
			r.closeFDs()
			return reply{}, p.breach(op, errors.New("it is an error with descriptors"))
		}
		e := classify(op, r.Error, r.ErrorCode)
		e.Stderr = p.child.stderr.String()
		return reply{}, e
	}
	if err := r.check(want); err != nil {
		r.closeFDs()
		return reply{}, p.breach(op, err)
	}
	if op == "OpenImage" || op == "OpenImageOptional" {
		// Here, so that Close knows of it even when nobody waits any more.
		p.remember(r)
	}
	return r, nil
}

func (p *Proxy) remember(r reply) {
	if id, err := r.uint(); err == nil && id != 0 {
		p.mu.Lock()
		p.images[id] = struct{}{}
		p.mu.Unlock()
	}
}

// send writes one request.
func (p *Proxy) send(op string, args ...any) error {
	packet, err := encodeRequest(op, args)
	if err != nil {
		return &Error{Class: ClassConfig, Op: op, Message: err.Error(), Err: err}
	}
	if _, err := p.child.socket.Write(packet); err != nil {
		return p.gone(op)
	}
	return nil
}

// deathWait is how long a process that closed its socket may take to end.
const deathWait = 2 * time.Second

// gone is called when the socket says that the process has ended: the reason is
// in its status and stderr, for which it is waited.
func (p *Proxy) gone(op string) error {
	timer := time.NewTimer(deathWait)
	defer timer.Stop()
	select {
	case <-p.child.exited:
		p.fail(p.child.deathError())
	case <-timer.C:
		p.fail(&Error{Class: ClassChildDied, Op: op, Message: "the image proxy closed its socket but did not end", Stderr: p.child.stderr.String()})
	}
	return p.broken(op)
}
