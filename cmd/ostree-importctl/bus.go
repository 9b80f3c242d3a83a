package main

import (
	"context"
	"errors"
	"time"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

// cancelTimeout bounds how long an interrupted pull waits for the daemon to
// take the cancellation and to end the job.
const cancelTimeout = 30 * time.Second

// overBus is the backend that asks the daemon. Listing and showing are the
// client's own methods.
type overBus struct{ *dbus.Client }

func (b overBus) Pull(ctx context.Context, request importer.Request, progress func(importer.Progress)) (*importer.Result, error) {
	id, err := b.Import(ctx, request, daemon.JobOptions{})
	if err != nil {
		return nil, err
	}
	status, err := b.Wait(ctx, id, func(status daemon.JobStatus) { progress(status.Progress) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(errInterrupted, b.cancel(ctx, id))
		}
		return nil, err
	}
	return status.Import, nil
}

// cancel stops the job that an interrupted pull started and waits for its end.
// A job that is past stopping is not an error: the pull was interrupted, the
// import goes on to its end.
func (b overBus) cancel(ctx context.Context, id uint64) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	if err := b.Cancel(ctx, id); err != nil {
		return err
	}
	_, err := b.Wait(ctx, id, nil)
	if importer.KindOf(err) == importer.KindCanceled {
		return nil
	}
	return err
}

func (b overBus) Prepare(ctx context.Context, request importer.Request) (*importer.Plan, error) {
	prepared, err := b.Client.Prepare(ctx, request, daemon.JobOptions{})
	if err != nil {
		return nil, err
	}
	return &prepared.Plan, nil
}
