package main

import (
	"context"
	"errors"
	"time"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

// cancelTimeout bounds how long an interrupted verb waits for the daemon to
// take the cancellation and to end the job.
const cancelTimeout = 30 * time.Second

// waitForJob shows a job's progress until its end. When ctx ends it stops the
// job.
func waitForJob(ctx context.Context, client *dbus.Client, id uint64, display display) (daemon.JobStatus, error) {
	status, err := client.Wait(ctx, id, func(status daemon.JobStatus) { display.update(status.Progress) })
	if err != nil && ctx.Err() != nil {
		return status, errors.Join(errInterrupted, cancelJob(ctx, client, id))
	}
	return status, err
}

// cancelJob stops the job that an interrupted verb started and waits for its
// end. A job that is past stopping is not an error, nor one that another user
// wants too: the verb was interrupted, the job goes on to its end.
func cancelJob(ctx context.Context, client *dbus.Client, id uint64) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	if err := client.Cancel(ctx, id); err != nil {
		return err
	}
	if status, err := client.Job(ctx, id); err == nil && status.Cancellable {
		return nil // it goes on for others
	}
	_, err := client.Wait(ctx, id, nil)
	if importer.KindOf(err) == importer.KindCanceled {
		return nil
	}
	return err
}
