package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
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
		return status, cancelJob(ctx, client, id, display)
	}
	return status, err
}

// cancelJob stops the job that an interrupted verb started and waits for its
// end, or for a second interruption, which leaves the job to the daemon. It
// returns how the verb ends. A job that is past stopping goes on to its end, and
// so does one that another user wants too.
func cancelJob(ctx context.Context, client *dbus.Client, id uint64, display display) error {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	display.note(fmt.Sprintf("stopping job %d; Ctrl-C leaves it to the daemon", id))
	became, err := stopJob(ctx, client, id)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return interruptedError{fmt.Sprintf("interrupted twice: job %d is left to the daemon; `ostree-importctl jobs` tells how it ends", id)}
	case err != nil:
		return interruptedError{fmt.Sprintf("interrupted: %v", err)}
	}
	return interruptedError{fmt.Sprintf("interrupted: job %d %s", id, became)}
}

// stopJob tells a job to stop, waits until it has, and says what became of it.
func stopJob(ctx context.Context, client *dbus.Client, id uint64) (became string, err error) {
	if err := client.Cancel(ctx, id); err != nil {
		return "", err
	}
	if status, err := client.Job(ctx, id); err == nil && status.Cancellable {
		return "goes on, because others want it too", nil
	}
	_, err = client.Wait(ctx, id, nil)
	switch {
	case importer.KindOf(err) == importer.KindCanceled:
		return "was stopped", nil
	case err == nil:
		return "was done before it could be stopped", nil
	}
	return "", err
}
