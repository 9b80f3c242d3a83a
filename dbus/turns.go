package dbus

import (
	"context"
	"os"
	"sync"

	godbus "github.com/godbus/dbus/v5"
)

// turns decides when each call is worked on, so that nobody who sends many keeps the others
// waiting:
//
//	gate      admit: the sender's user has less than the limit in work
//	reader    enter: the call counts for the user, until it is answered
//	call      take: it waits until it is the user's turn, and then the sender's
//	          pause, resume: others have their turn while it waits for a job or for polkit
//
// Users take turns, and the connections of a user among themselves. Root's calls run beside those
// of all others. While the gate has messages to look at, nobody but root gets a turn: during a
// flood the messages that can be refused hide root's calls, and refusing is fast. Methods may be
// called concurrently.
type turns struct {
	// userOf asks the bus for the user of a connection.
	userOf  func(sender string) (uid uint32, err error)
	lookups sync.WaitGroup

	mu        sync.Mutex
	senders   map[string]*sender // by unique name
	users     map[uint32]*user   // those of senders
	strangers load               // calls of senders whose user is not known yet
	unknown   int                // such senders
	others    lane               // of all users but root
	root      lane
}

// load counts calls in work.
type load struct {
	calls int
	bytes int64
}

// sender is one connection on the bus.
type sender struct {
	load
	user    *user           // nil while the bus has not told
	waiting []chan struct{} // the calls that wait for their turn; a closed channel means go
}

// user is one user, whatever number of connections it has.
type user struct {
	load
	uid     uint32
	senders int // how many are remembered
	lane    *lane
	ring    []*sender // those with calls that wait, in turn
}

// lane runs up to maxRunning calls at the same time.
type lane struct {
	running int
	held    bool    // nobody gets a turn
	ring    []*user // those with calls that wait, in turn
}

// noUser stands for the user of a connection that the bus does not know, or no longer.
const noUser = ^uint32(0)

func newTurns(userOf func(sender string) (uint32, error)) *turns {
	return &turns{userOf: userOf, senders: make(map[string]*sender), users: make(map[uint32]*user)}
}

// admit refuses a call of that size when too many of its user are in work. The error is a
// *godbus.Error.
func (t *turns) admit(name string, size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.senders[name]
	switch {
	case s == nil && t.unknown >= maxStrangers:
		return tooMuch("the bus has yet to tell the users of %d connections; at most %d are asked for",
			t.unknown, maxStrangers)
	case s == nil:
		return t.admitStranger(load{}, size)
	case s.user == nil:
		return t.admitStranger(s.load, size)
	}
	calls, bytes := s.user.limits()
	return s.user.admit(size, calls, bytes)
}

// admitStranger is admit for a sender that has that much in work and whose user is not known. A
// share is its own, whatever others send: it may be root.
func (t *turns) admitStranger(own load, size int64) error {
	if own.calls < ownStrangerCalls && own.bytes+size <= ownStrangerBytes {
		return nil
	}
	if err := own.admit(size, maxUserCalls, maxUserBytes); err != nil {
		return err
	}
	return t.strangers.admit(size, maxStrangerCalls, maxStrangerBytes)
}

func (l *load) admit(size int64, calls int, bytes int64) error {
	if l.calls < calls && (l.calls == 0 || l.bytes+size <= bytes) {
		return nil
	}
	return tooMuch("%d calls with %d bytes wait for answers; at most %d with %d bytes may",
		l.calls, l.bytes, calls, bytes)
}

func (l *load) add(calls int, bytes int64) {
	l.calls += calls
	l.bytes += bytes
}

// enter counts a call until leave is called.
func (t *turns) enter(name string, size int64) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.senders[name]
	if s == nil {
		s = t.addSender(name)
	}
	t.count(s, 1, size)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.count(s, -1, -size)
	}
}

func (t *turns) count(s *sender, calls int, bytes int64) {
	s.add(calls, bytes)
	if s.user == nil {
		t.strangers.add(calls, bytes)
	} else {
		s.user.add(calls, bytes)
	}
}

// addSender remembers a sender, and has the bus asked whose it is. Names are never used twice, so
// that what the bus says holds.
func (t *turns) addSender(name string) *sender {
	if len(t.senders) >= maxSenders {
		t.forgetIdle()
	}
	s := &sender{}
	t.senders[name] = s
	t.unknown++
	t.lookups.Go(func() {
		uid, err := t.userOf(name)
		if err != nil {
			uid = noUser
		}
		t.introduce(s, uid)
	})
	return s
}

// forgetIdle forgets the senders that have no call in work. They are asked for again when they
// return.
func (t *turns) forgetIdle() {
	for name, s := range t.senders {
		if s.calls > 0 || s.user == nil {
			continue
		}
		delete(t.senders, name)
		if s.user.senders--; s.user.senders == 0 {
			delete(t.users, s.user.uid)
		}
	}
}

// introduce says whose a sender is. Its calls become the user's.
func (t *turns) introduce(s *sender, uid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[uid]
	if u == nil {
		u = &user{uid: uid, lane: &t.others}
		if isPrivileged(uid) {
			u.lane = &t.root
		}
		t.users[uid] = u
	}
	u.senders++
	t.unknown--
	t.strangers.add(-s.calls, -s.bytes)
	moved := s.load
	s.load = load{}
	s.user = u
	t.count(s, moved.calls, moved.bytes)
	if len(s.waiting) > 0 {
		t.queue(s)
	}
}

// turn is one call's permission to be worked on. A nil turn is for a call that waits for nobody.
type turn struct {
	turns  *turns
	sender *sender
}

// take waits until the call of the sender may be worked on, or ctx ends. enter was called for it
// before. It refuses a call that came before the bus told its user, if that user has too many in
// work.
func (t *turns) take(ctx context.Context, name string) (*turn, error) {
	t.mu.Lock()
	s := t.senders[name]
	t.mu.Unlock()
	taken := &turn{t, s}
	if err := taken.resume(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	err := s.user.exceeded()
	t.mu.Unlock()
	if err != nil {
		taken.pause()
		return nil, err
	}
	return taken, nil
}

// exceeded says why a call of the user, which counts already, is too much.
func (u *user) exceeded() error {
	calls, bytes := u.limits()
	if u.calls <= calls && (u.calls == 1 || u.bytes <= bytes) {
		return nil
	}
	return tooMuch("%d calls with %d bytes are in work; at most %d with %d bytes may", u.calls, u.bytes, calls, bytes)
}

// limits bound what the user has in work.
func (u *user) limits() (calls int, bytes int64) {
	if isPrivileged(u.uid) {
		return maxRootCalls, maxRootBytes
	}
	return maxUserCalls, maxUserBytes
}

// resume waits for the next turn.
func (n *turn) resume(ctx context.Context) error {
	if n == nil {
		return nil
	}
	granted := make(chan struct{})
	n.turns.mu.Lock()
	n.sender.waiting = append(n.sender.waiting, granted)
	if n.sender.user != nil && len(n.sender.waiting) == 1 {
		n.turns.queue(n.sender)
	}
	n.turns.mu.Unlock()
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause gives the turn to others.
func (n *turn) pause() {
	if n == nil {
		return
	}
	n.turns.mu.Lock()
	defer n.turns.mu.Unlock()
	n.sender.user.lane.running--
	n.sender.user.lane.grant()
}

// hold keeps turns from all users but root, or gives them again.
func (t *turns) hold(held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.others.held = held
	t.others.grant()
}

// queue has a sender that begins to wait take turns with others. t.mu is held, as in what follows.
func (t *turns) queue(s *sender) {
	u := s.user
	u.ring = append(u.ring, s)
	if len(u.ring) == 1 {
		u.lane.ring = append(u.lane.ring, u)
	}
	u.lane.grant()
}

// grant lets calls go on while there is room.
func (l *lane) grant() {
	for !l.held && l.running < maxRunning && len(l.ring) > 0 {
		u := l.ring[0]
		l.ring = l.ring[1:]
		s := u.ring[0]
		u.ring = u.ring[1:]
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
		l.running++
		if len(s.waiting) > 0 {
			u.ring = append(u.ring, s)
		}
		if len(u.ring) > 0 {
			l.ring = append(l.ring, u)
		}
	}
}

// isPrivileged tells whether a user may do everything: root, and the user that the daemon runs as,
// who could do the same without it.
func isPrivileged(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// unixUser asks the bus for the user of a connection.
func unixUser(conn *godbus.Conn, name string) (uid uint32, err error) {
	if conn == nil {
		return 0, godbus.ErrClosed
	}
	err = askBus(conn.Context(), conn, "GetConnectionUnixUser", name).Store(&uid)
	return uid, err
}
