package daemon

import "sync"

// EventType says what happened.
type EventType string

const (
	// JobNew: a job was started; Event.Job is its status at that moment.
	JobNew EventType = "job-new"
	// JobChanged: the state or the progress changed. A slow reader sees each state once, with the
	// latest progress.
	JobChanged EventType = "job-changed"
	// JobFinished: Event.Job is the job's last status.
	JobFinished EventType = "job-finished"
	// JobRemoved: the job is no longer retained; Event.Job is its last status.
	JobRemoved EventType = "job-removed"
	// PreparedRemoved: the plan Event.PreparedID was discarded, expired or made room for a newer
	// one.
	PreparedRemoved EventType = "prepared-removed"
	// ImagesChanged: what Images answers is another thing than before; Event.Images says of which
	// images.
	ImagesChanged EventType = "images-changed"
)

// Event is one thing that happened. No event is about a look-up (see JobType.IsLookup). Job is set
// for the Job events, PreparedID for PreparedRemoved, Images for ImagesChanged.
type Event struct {
	Type       EventType    `json:"type"`
	Job        JobStatus    `json:"job,omitzero"`
	PreparedID uint64       `json:"prepared-id,omitempty"`
	Images     ImageChanges `json:"images,omitzero"`
}

// Subscribe delivers everything that happens from now on, in order. Nothing is lost however slowly
// the channel is read: events are queued without a bound, in which the progress of a job takes one
// place only. cancel ends the delivery, closes the channel and may be called more than once; until
// then the subscription also lives on after Shutdown.
func (m *Manager) Subscribe() (events <-chan Event, cancel func()) {
	s := &subscription{changes: map[uint64]*Event{}, wake: make(chan struct{}, 1)}
	out, stop, stopped := make(chan Event), make(chan struct{}), make(chan struct{})
	m.mu.Lock()
	m.subscriptions[s] = struct{}{}
	m.mu.Unlock()
	go func() {
		defer close(stopped)
		s.deliver(out, stop)
	}()
	end := sync.OnceFunc(func() {
		m.mu.Lock()
		delete(m.subscriptions, s)
		m.mu.Unlock()
		close(stop)
		<-stopped
	})
	return out, end
}

// emit queues an event for all subscribers. m.mu is held, which gives all of them one order.
func (m *Manager) emit(e Event) {
	for s := range m.subscriptions {
		s.push(e)
	}
}

// emitJob queues an event about a job, unless the job is one that no event may name, or not yet.
func (m *Manager) emitJob(typ EventType, j *job) {
	if j.announced && !j.work.Type.IsLookup() {
		m.emit(Event{Type: typ, Job: j.status})
	}
}

// subscription is one subscriber's queue.
type subscription struct {
	mu      sync.Mutex
	queue   []*Event
	changes map[uint64]*Event // the last JobChanged in queue, by job
	wake    chan struct{}     // capacity 1: queue may have something
}

func (s *subscription) push(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Type == JobChanged {
		if last := s.changes[e.Job.ID]; last != nil && last.Job.State == e.Job.State {
			last.Job = e.Job
			return
		}
		s.changes[e.Job.ID] = &e
	}
	s.queue = append(s.queue, &e)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscription) pop() (e Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return Event{}, false
	}
	first := s.queue[0]
	s.queue = s.queue[1:]
	if s.changes[first.Job.ID] == first {
		delete(s.changes, first.Job.ID)
	}
	return *first, true
}

func (s *subscription) deliver(out chan<- Event, stop <-chan struct{}) {
	defer close(out)
	for {
		e, ok := s.pop()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-stop:
				return
			}
		}
		select {
		case out <- e:
		case <-stop:
			return
		}
	}
}
