package proxyclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// retry runs do until it succeeds, fails for good, or has failed cfg.Retries
// times more than once. An integrity error gets one more try.
func (c Config) retry(ctx context.Context, do func() error) error {
	integrity := false
	for attempt := 0; ; attempt++ {
		err := do()
		var e *Error
		if err == nil || attempt >= c.Retries || !errors.As(err, &e) || !e.Retryable() || integrity {
			return err
		}
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return err
		}
		integrity = e.Class == ClassIntegrity
		wait := c.backoff(attempt)
		c.Log.WithError(err).WithField("attempt", attempt+1).Debugf("trying again in %v", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			late := contextError(e.Op, ctx)
			late.Message += "; the last attempt: " + e.Message
			return late
		}
	}
}

// backoff is the time to wait after the given attempt (from 0), with jitter of
// half of it either way, so that many hosts do not come back at once.
func (c Config) backoff(attempt int) time.Duration {
	wait := c.Timeouts.Backoff << min(attempt, 4)
	return wait/2 + rand.N(wait+1)
}
