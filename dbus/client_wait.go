package dbus

import (
	"context"
	"errors"
	"fmt"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

const (
	nameOwnerChanged  = "org.freedesktop.DBus.NameOwnerChanged"
	propertiesChanged = propertiesInterface + ".PropertiesChanged"
)

// Wait waits until the job has finished and returns its last status. progress (may be nil) is
// called with each status on the way, from the calling goroutine. The error is the job's when it
// failed or was canceled, ctx's when that ended (the job goes on), and of KindInterrupted when the
// daemon went away meanwhile.
func (c *Client) Wait(ctx context.Context, id uint64, progress func(daemon.JobStatus)) (daemon.JobStatus, error) {
	// Signals first, the status second: what happens between the two is then seen twice, and never
	// missed.
	signals, stop, err := c.subscribe(ctx, matchOwner(), []godbus.MatchOption{
		godbus.WithMatchObjectPath(jobPath(id)), godbus.WithMatchInterface(propertiesInterface),
	})
	if err != nil {
		return daemon.JobStatus{}, err
	}
	defer stop()
	var last daemon.JobStatus
	for {
		status, err := c.Job(ctx, id)
		if kind := importer.KindOf(err); kind == importer.KindNotAvailable || kind == importer.KindInterrupted {
			return last, daemonLeft(id)
		}
		if err != nil {
			return last, err
		}
		last = status
		if progress != nil {
			progress(status)
		}
		if status.State == daemon.StateFinished {
			return status, jobError(status)
		}
		if err := awaitChange(ctx, id, signals); err != nil {
			return last, err
		}
	}
}

// awaitChange returns nil when the job has changed, and when another process, or none, has become
// its daemon: the next one remembers the job, and knows what became of it. Who sent the signal does
// not matter, since it is only a reason to ask.
func awaitChange(ctx context.Context, id uint64, signals <-chan *godbus.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case signal, open := <-signals:
			if !open {
				return connectionLost()
			}
			if signal.Path == jobPath(id) && signal.Name == propertiesChanged {
				return nil
			}
			if name, _ := ownerChange(signal); name == BusName {
				return nil
			}
		}
	}
}

// matchOwner matches the signals about who owns the daemon's name.
func matchOwner() []godbus.MatchOption {
	return []godbus.MatchOption{
		godbus.WithMatchSender("org.freedesktop.DBus"),
		godbus.WithMatchMember("NameOwnerChanged"),
		godbus.WithMatchArg(0, BusName),
	}
}

// subscribe delivers signals that match one of the rules; stop ends that. The channel also gets
// what other subscriptions of the connection asked for, and is closed when the connection is.
func (c *Client) subscribe(ctx context.Context, rules ...[]godbus.MatchOption) (signals chan *godbus.Signal, stop func(), err error) {
	signals = make(chan *godbus.Signal)
	c.conn.Signal(signals)
	added := 0
	stop = func() {
		c.conn.RemoveSignal(signals)
		// A rule that can't be removed only costs messages, and ends with the connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), busCallTimeout)
		defer cancel()
		for _, rule := range rules[:added] {
			_ = c.conn.RemoveMatchSignalContext(ctx, rule...)
		}
	}
	for _, rule := range rules {
		if err := c.conn.AddMatchSignalContext(ctx, rule...); err != nil {
			stop()
			return nil, nil, fromCallError(err)
		}
		added++
	}
	return signals, stop, nil
}

// ownerChange reads a NameOwnerChanged; name is "" for any other signal, and now is when nobody
// owns the name.
func ownerChange(signal *godbus.Signal) (name, now string) {
	var before string
	if signal.Name != nameOwnerChanged || signal.Sender != "org.freedesktop.DBus" ||
		godbus.Store(signal.Body, &name, &before, &now) != nil {
		return "", ""
	}
	return name, now
}

func daemonLeft(id uint64) error {
	return &importer.Error{
		Kind: importer.KindInterrupted,
		Hint: "its log tells why; the same request again goes on from the layers that are there",
		Err:  fmt.Errorf("the daemon went away while job %d ran", id),
	}
}

func connectionLost() error {
	return &importer.Error{Kind: importer.KindInterrupted, Err: errors.New("the connection to the bus was lost")}
}
