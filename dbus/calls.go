package dbus

import (
	"sync"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// callKey names one incoming call. The gate passes none on whose sender has another one with that
// serial unanswered.
type callKey struct {
	sender string
	serial uint32
}

// pendingCall is a call that is not yet answered.
type pendingCall struct {
	key     callKey
	hooks   []func()
	brought *descriptors // until it is handled; nil for none
}

// callTracker counts the calls that have come in and are not yet answered, and runs what has to
// come after an answer. Its methods are hooks of a godbus.Conn: arrived runs in the reader
// goroutine, before the call is dispatched, and RetireSerial right after a message was written.
type callTracker struct {
	// changed gets a token when a call ended or idleness has to be looked at again.
	changed chan struct{}

	mu      sync.Mutex
	serial  uint32
	pending map[callKey]*pendingCall
	answers map[uint32]*pendingCall // by the serial of the outgoing answer
	last    time.Time
}

func newCallTracker() *callTracker {
	return &callTracker{
		changed: make(chan struct{}, 1),
		pending: make(map[callKey]*pendingCall),
		answers: make(map[uint32]*pendingCall),
		last:    time.Now(),
	}
}

// GetSerial implements godbus.SerialGenerator. Serials start again after 2³² messages; those of
// that long ago are retired.
func (t *callTracker) GetSerial() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serial++
	if t.serial == 0 {
		t.serial = 1
	}
	return t.serial
}

// RetireSerial implements godbus.SerialGenerator: the message has been written.
func (t *callTracker) RetireSerial(serial uint32) {
	t.mu.Lock()
	call := t.answers[serial]
	delete(t.answers, serial)
	t.mu.Unlock()
	if call != nil {
		t.end(call)
	}
}

// arrived is the interceptor of incoming messages.
func (t *callTracker) arrived(msg *godbus.Message) {
	if msg.Type != godbus.TypeMethodCall {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOf(msg)
	t.pending[key] = &pendingCall{key: key}
}

// unanswered says why no call with that key may come in now: one that has it is not yet answered.
// Answers name nothing but the serial, so that one to the second call would end the first.
func (t *callTracker) unanswered(key callKey) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending[key] == nil {
		return nil
	}
	return standardError(errInvalidArgs,
		"the serial %d is that of a call that is not yet answered; each call takes its own", key.serial)
}

// answering is the interceptor of outgoing messages.
func (t *callTracker) answering(msg *godbus.Message) {
	if msg.Type != godbus.TypeMethodReply && msg.Type != godbus.TypeError {
		return
	}
	destination, _ := msg.Headers[godbus.FieldDestination].Value().(string)
	serial, _ := msg.Headers[godbus.FieldReplySerial].Value().(uint32)
	t.mu.Lock()
	defer t.mu.Unlock()
	if call := t.pending[callKey{destination, serial}]; call != nil {
		t.answers[msg.Serial()] = call
	}
}

// bring notes the descriptors of a call that has arrived.
func (t *callTracker) bring(key callKey, brought *descriptors) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[key].brought = brought
}

// brought gives the descriptors of a call, nil if it brings none.
func (t *callTracker) brought(key callKey) *descriptors {
	t.mu.Lock()
	defer t.mu.Unlock()
	call := t.pending[key]
	if call == nil {
		return nil
	}
	return call.brought
}

// after has fn run once the answer to the call is written; for a call that wants none, once its
// handler has returned. The call must not be answered yet.
func (t *callTracker) after(key callKey, fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[key].hooks = append(t.pending[key].hooks, fn)
}

// finish ends a call that wants no answer.
func (t *callTracker) finish(key callKey) {
	t.mu.Lock()
	call := t.pending[key]
	t.mu.Unlock()
	if call != nil {
		t.end(call)
	}
}

// end ends a call, once. Its hooks have run when it is no longer counted.
func (t *callTracker) end(call *pendingCall) {
	t.mu.Lock()
	hooks := call.hooks
	call.hooks = nil
	t.mu.Unlock()
	for _, hook := range hooks {
		hook()
	}
	t.mu.Lock()
	if t.pending[call.key] == call {
		delete(t.pending, call.key)
	}
	t.last = time.Now()
	t.mu.Unlock()
	t.poke()
}

// poke has idleness looked at again.
func (t *callTracker) poke() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// touch counts as activity, as the end of a call does.
func (t *callTracker) touch() {
	t.mu.Lock()
	t.last = time.Now()
	t.mu.Unlock()
	t.poke()
}

// state is the number of unanswered calls and the time of the last activity.
func (t *callTracker) state() (pending int, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.pending), t.last
}

func keyOf(msg *godbus.Message) callKey {
	sender, _ := msg.Headers[godbus.FieldSender].Value().(string)
	return callKey{sender, msg.Serial()}
}
