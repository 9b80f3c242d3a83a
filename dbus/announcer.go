package dbus

import (
	"fmt"
	"reflect"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
)

// progressInterval is the least time between two PropertiesChanged of one job, its last one
// excepted.
const progressInterval = 200 * time.Millisecond

// settleTime is how long no event has to come, once no job is left, to be sure that none is under
// way.
const settleTime = 20 * time.Millisecond

// statusWaiting is what the service manager shows while there is no job.
const statusWaiting = "Waiting for requests."

// announcer turns the Manager's events into signals. All methods are for one goroutine.
type announcer struct {
	emit   func(path godbus.ObjectPath, signal string, values ...any)
	active func() int                   // queued and running jobs, look-ups excepted
	images func() map[string]properties // of all images that have an object, by name
	status func(text string)            // takes one line for the service manager

	// silentOfJob and silentOfImage are names of properties that no signal tells.
	silentOfJob   []string
	silentOfImage []string

	jobs       map[uint64]*announcedJob
	lastActive int
}

// announcedJob is what the bus has been told of a job.
type announcedJob struct {
	told   map[string]godbus.Variant
	at     time.Time
	latest daemon.JobStatus
	stale  bool // latest has not been told
}

func newAnnouncer(
	active func() int, images func() map[string]properties,
	emit func(godbus.ObjectPath, string, ...any), status func(string),
) *announcer {
	return &announcer{
		emit:          emit,
		active:        active,
		images:        images,
		status:        status,
		silentOfJob:   interfaceSpecs()[jobInterface].silentProperties(),
		silentOfImage: interfaceSpecs()[imageInterface].silentProperties(),
		jobs:          make(map[uint64]*announcedJob),
		lastActive:    active(),
	}
}

// run announces events until stop is closed, and then those that were under way. ended is called
// after each job's last signal.
func (a *announcer) run(events <-chan daemon.Event, stop <-chan struct{}, ended func()) {
	due := time.NewTimer(0)
	defer due.Stop()
	settled := time.NewTimer(0)
	settled.Stop()
	for {
		select {
		case event := <-events:
			a.announce(event, time.Now())
			if event.Type == daemon.JobFinished {
				ended()
			}
			if stop == nil {
				settled.Reset(settleTime)
			}
		case <-due.C:
		case <-stop:
			stop = nil
			settled.Reset(settleTime)
		case <-settled.C:
			return
		}
		now := time.Now()
		a.announceActive()
		if next := a.flush(now); !next.IsZero() {
			due.Reset(next.Sub(now))
		}
	}
}

// announce emits what event calls for at once; changed properties wait for flush.
func (a *announcer) announce(event daemon.Event, now time.Time) {
	id := event.Job.ID
	switch event.Type {
	case daemon.JobNew:
		told := variants(jobProperties(event.Job))
		a.jobs[id] = &announcedJob{told: told, at: now, latest: event.Job}
		a.emitAdded(jobPath(id), jobInterface, told)
		a.emit(rootPath, managerInterface+".JobNew", id, jobPath(id), string(event.Job.Type))
	case daemon.JobChanged:
		a.update(event.Job)
	case daemon.JobFinished:
		a.update(event.Job)
		a.tell(a.jobs[id], now)
		a.emit(rootPath, managerInterface+".JobFinished", id, jobPath(id), string(event.Job.Result),
			errorName(event.Job.ErrorKind), busText(event.Job.ErrorMessage))
	case daemon.JobRemoved:
		delete(a.jobs, id)
		a.emit(rootPath, managerInterface+".JobRemoved", id, jobPath(id))
		a.emitRemoved(jobPath(id), jobInterface)
	case daemon.PreparedRemoved:
		a.emit(rootPath, managerInterface+".PreparedRemoved", event.PreparedID, preparedPath(event.PreparedID))
	case daemon.ImagesChanged:
		a.announceImages(event.Images)
	}
}

func (a *announcer) update(status daemon.JobStatus) {
	job := a.jobs[status.ID]
	if job == nil {
		job = &announcedJob{}
		a.jobs[status.ID] = job
	}
	job.latest, job.stale = status, true
}

// flush tells the changes that are due and returns when the next ones are; zero when there are
// none.
func (a *announcer) flush(now time.Time) (next time.Time) {
	for _, job := range a.jobs {
		if !job.stale {
			continue
		}
		due := job.at.Add(progressInterval)
		if !due.After(now) {
			a.tell(job, now)
		} else if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// tell emits one signal with all properties of the job that differ from what was told before.
func (a *announcer) tell(job *announcedJob, now time.Time) {
	current := variants(jobProperties(job.latest))
	changed := make(map[string]godbus.Variant)
	for name, value := range current {
		if !reflect.DeepEqual(value, job.told[name]) {
			changed[name] = value
		}
	}
	for _, name := range a.silentOfJob {
		delete(changed, name)
	}
	job.told, job.at, job.stale = current, now, false
	if len(changed) > 0 {
		a.emitChanged(jobPath(job.latest.ID), jobInterface, changed)
	}
	if job.latest.State == daemon.StateRunning {
		a.status(fmt.Sprintf("Job %d, %s of %q: %s", job.latest.ID, job.latest.Type, job.latest.Image, job.latest.StatusText))
	}
}

func (a *announcer) announceActive() {
	if active := a.active(); active != a.lastActive {
		a.lastActive = active
		a.emitChanged(rootPath, managerInterface, variants(properties{"NJobs": uint32(active)}))
		if active == 0 {
			a.status(statusWaiting)
		}
	}
}

func (a *announcer) emitChanged(path godbus.ObjectPath, iface string, changed map[string]godbus.Variant) {
	a.emit(path, propertiesInterface+".PropertiesChanged", iface, changed, []string{})
}
