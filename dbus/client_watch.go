package dbus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
)

// Watch calls event, from the calling goroutine, for everything that happens to any job until ctx
// ends; it then returns nil. It neither starts the daemon nor keeps it from its idle exit, and goes
// on over restarts of it. The status in an event is the one at the moment of the call, which can be
// a later one than that of the signal; after JobRemoved only the id is known.
func (c *Client) Watch(ctx context.Context, event func(daemon.Event)) error {
	signals, stop, err := c.subscribe(ctx, matchOwner(), []godbus.MatchOption{godbus.WithMatchPathNamespace(rootPath)})
	if err != nil {
		return err
	}
	defer stop()

	// Anybody may emit signals with our paths, so that the sender has to be looked at. The last
	// owner stays believed after it gave the name away: it may have a job left to finish.
	var owner string
	err = callBus(ctx, c.conn, "GetNameOwner", BusName).Store(&owner)
	var reply godbus.Error
	if err != nil && !(errors.As(err, &reply) && reply.Name == errNameHasNoOwner) {
		return fromCallError(err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case signal, open := <-signals:
			if !open {
				return connectionLost()
			}
			if name, now := ownerChange(signal); name == BusName && now != "" {
				owner = now
			}
			if signal.Sender != owner {
				continue
			}
			if e, is := c.eventOf(ctx, signal); is {
				event(e)
			}
		}
	}
}

// eventOf makes a signal of the daemon an event.
func (c *Client) eventOf(ctx context.Context, signal *godbus.Signal) (e daemon.Event, is bool) {
	if signal.Name == propertiesChanged {
		element, isJob := strings.CutPrefix(string(signal.Path), string(jobsPath)+"/")
		id, valid := parseID(element)
		if !isJob || !valid {
			return e, false
		}
		return daemon.Event{Type: daemon.JobChanged, Job: c.signaledJob(ctx, id)}, true
	}
	member, isManager := strings.CutPrefix(signal.Name, managerInterface+".")
	if !isManager {
		return e, false
	}
	if member == "ImagesChanged" {
		return daemon.Event{Type: daemon.ImagesChanged, Images: changedImages(signal.Body)}, true
	}
	if len(signal.Body) == 0 {
		return e, false
	}
	id, isID := signal.Body[0].(uint64)
	if !isID {
		return e, false
	}
	switch member {
	case "JobNew":
		e = daemon.Event{Type: daemon.JobNew, Job: c.signaledJob(ctx, id)}
	case "JobFinished":
		e = daemon.Event{Type: daemon.JobFinished, Job: c.signaledJob(ctx, id)}
		if e.Job.State != daemon.StateFinished {
			e.Job = finishedJob(id, signal.Body)
		}
	case "JobRemoved":
		e = daemon.Event{Type: daemon.JobRemoved, Job: daemon.JobStatus{ID: id}}
	case "PreparedRemoved":
		e = daemon.Event{Type: daemon.PreparedRemoved, PreparedID: id}
	default:
		return e, false
	}
	return e, true
}

// changedImages is what ImagesChanged tells.
func changedImages(body []any) (changes daemon.ImageChanges) {
	if godbus.Store(body, &changes.Added, &changes.Changed, &changes.Removed) != nil {
		return daemon.ImageChanges{}
	}
	return changes
}

// signaledJob is the status of a job that a signal named; only its id when the job, or its daemon,
// is gone.
func (c *Client) signaledJob(ctx context.Context, id uint64) daemon.JobStatus {
	var text string
	status := daemon.JobStatus{ID: id}
	err := c.query(ctx, godbus.FlagNoAutoStart, jobPath(id), jobInterface+".Describe").Store(&text)
	if err != nil || json.Unmarshal([]byte(text), &status) != nil {
		return daemon.JobStatus{ID: id}
	}
	return status
}

// finishedJob is what JobFinished itself tells of a job.
func finishedJob(id uint64, body []any) daemon.JobStatus {
	var path godbus.ObjectPath
	var result, name, message string
	if godbus.Store(body, &id, &path, &result, &name, &message) != nil {
		return daemon.JobStatus{ID: id}
	}
	status := daemon.JobStatus{ID: id, State: daemon.StateFinished, Result: daemon.JobResult(result), ErrorMessage: message}
	if name != "" {
		status.ErrorKind, _ = kindOfReply(name)
	}
	return status
}
