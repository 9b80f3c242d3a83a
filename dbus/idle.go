package dbus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// drainTime is how long calls that came in before the name was released may take without it,
	// and how long a server that took it back stays without work.
	drainTime = 500 * time.Millisecond
	// lostBusTimeout is how long jobs may take to stop when nobody can ask for them any longer.
	lostBusTimeout = 10 * time.Second
	// extendInterval and extendBy keep the service manager from killing a server that still has
	// work while it stops.
	extendInterval = 10 * time.Second
	extendBy       = 30 * time.Second
)

// serve waits for a reason to end, and ends in the way that fits it.
func (s *Server) serve(ctx context.Context) error {
	idle := time.NewTimer(s.idleTimeout)
	defer idle.Stop()
	if s.idleTimeout == 0 {
		idle.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return s.shutdown()
		case <-s.conn.Context().Done():
			return s.leaveWithoutBus()
		case <-s.calls.changed:
		case <-idle.C:
		}
		if s.idleTimeout == 0 || s.busy() {
			continue // the end of what runs will poke
		}
		_, last := s.calls.state()
		if left := time.Until(last.Add(s.idleTimeout)); left > 0 {
			idle.Reset(left)
			continue
		}
		return s.leave(ctx)
	}
}

// busy tells whether a call is unanswered or a job is not at its end.
func (s *Server) busy() bool {
	pending, _ := s.calls.state()
	return pending > 0 || s.manager.Active() > 0
}

// leave gives the name back and drains. The order is what makes it lossless: the service manager is
// told first, so that it starts a new process for the next call instead of taking this one for it;
// and the reply to ReleaseName comes after every call that the bus had already routed here, so that
// all of those are counted by then. Work that takes longer, as a job that slipped in does, is done
// under the name.
func (s *Server) leave(ctx context.Context) error {
	s.notify("STOPPING=1", "STATUS=Idle, shutting down.")
	for {
		if err := s.releaseName(); err != nil {
			return err
		}
		if s.waitIdle(ctx, drainTime) {
			return nil
		}
		if ctx.Err() != nil {
			return s.shutdown()
		}
		if s.conn.Context().Err() != nil {
			return s.leaveWithoutBus()
		}
		// Where a new process owns the name already, that one serves, and this one just finishes.
		if err := s.takeName(ctx); err != nil {
			s.log.WithError(err).Info("finishing what was begun without the bus name")
		}
		for idle := false; !idle; {
			s.notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extendBy.Microseconds()))
			idle = s.waitIdle(ctx, extendInterval) && s.staysIdle(ctx)
			if ctx.Err() != nil {
				return s.shutdown()
			}
			if s.conn.Context().Err() != nil {
				return s.leaveWithoutBus()
			}
		}
	}
}

// waitIdle waits until nothing is to be done, but at most for the given time, and tells whether
// that was reached.
func (s *Server) waitIdle(ctx context.Context, limit time.Duration) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for s.busy() {
		select {
		case <-ctx.Done():
			return false
		case <-s.conn.Context().Done():
			return false
		case <-timeout.C:
			return false
		case <-s.calls.changed:
		}
	}
	return true
}

// staysIdle waits for calls that follow the end of a job, such as one that asks how it ended.
func (s *Server) staysIdle(ctx context.Context) bool {
	timeout := time.NewTimer(drainTime)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
	case <-s.conn.Context().Done():
	case <-s.calls.changed:
	case <-timeout.C:
		return !s.busy()
	}
	return false
}

// shutdown cancels all jobs and answers those who wait for them.
func (s *Server) shutdown() error {
	s.notify("STOPPING=1", "STATUS=Canceling jobs, shutting down.")
	ctx, cancel := context.WithTimeout(context.Background(), s.shutdownTimeout)
	defer cancel()
	err := s.manager.Shutdown(ctx)
	if s.conn.Context().Err() != nil {
		return err
	}
	err = errors.Join(err, s.releaseName())
	s.waitIdle(ctx, drainTime)
	return err
}

// leaveWithoutBus ends a server whose bus is gone. Nobody can reach it, so that it only stands in
// the way of the next one: what runs is interrupted and recorded, and the same request again goes
// on from what is complete. A job that does not stop in time is recorded by the next daemon.
func (s *Server) leaveWithoutBus() error {
	s.notify("STOPPING=1", "STATUS=The bus is gone, shutting down.")
	s.log.Error("the connection to the bus was lost; interrupting the running jobs")
	ctx, cancel := context.WithTimeout(context.Background(), lostBusTimeout)
	defer cancel()
	return errors.Join(errors.New("the connection to the bus was lost"), s.manager.Shutdown(ctx))
}
