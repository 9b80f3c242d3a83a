package dbus

import (
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// flood has two users send calls on a number of connections each, without waiting for answers,
// until stop is called.
func (s *suite) flood(t testing.TB, connections int, flags godbus.Flags) (stop func()) {
	var senders, readers sync.WaitGroup
	stopped := make(chan struct{})
	var conns []*rawConn
	for _, uid := range []int{nobody, somebody} {
		for range connections {
			c := s.connectRawAs(t, uid)
			conns = append(conns, c)
			readers.Go(func() { _, _ = io.Copy(io.Discard, c.in) })
			senders.Go(func() {
				for {
					var batch []byte
					for range 64 {
						h := c.header(managerInterface, "ListJobs")
						h.flags = flags
						batch = h.appendTo(batch, nil)
					}
					select {
					case <-stopped:
						return
					default:
					}
					if _, err := c.Write(batch); err != nil {
						return
					}
				}
			})
		}
	}
	return func() {
		close(stopped)
		for _, c := range conns {
			c.Close()
		}
		senders.Wait()
		readers.Wait()
	}
}

// BenchmarkCallDuringFlood: how long root's calls take while two users flood the daemon.
func BenchmarkCallDuringFlood(b *testing.B) {
	for name, flood := range map[string]struct {
		connections int
		flags       godbus.Flags
	}{
		"one connection each":             {1, 0},
		"one connection each, no answers": {1, godbus.FlagNoReplyExpected},
		"four each":                       {4, 0},
		"four each, no answers":           {4, godbus.FlagNoReplyExpected},
	} {
		b.Run(name, func(b *testing.B) {
			s := newSuite(b, suiteOptions{noHammer: true})
			conn := s.connect(b)
			if err := s.manage(conn, "ListJobs").Err; err != nil {
				b.Fatal(err)
			}
			stop := s.flood(b, flood.connections, flood.flags)
			defer stop()
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if err := s.manage(conn, "ListJobs").Err; err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms/max")
		})
	}
}

// TestFloodKeepsNobodyWaiting: a flood is refused at once, so that root's calls do not wait behind
// it, and nothing is left of it.
func TestFloodKeepsNobodyWaiting(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	stop := s.flood(t, 4, 0)
	for range 20 {
		if err := s.manage(conn, "ListJobs").Err; err != nil {
			t.Fatal(err)
		}
	}
	stop()
	// Calls that were under way end without their callers. Who waits for that takes the server's
	// own notice of it away.
	for pending, _ := s.server.calls.state(); pending > 0; pending, _ = s.server.calls.state() {
		time.Sleep(10 * time.Millisecond)
	}
	s.server.turns.mu.Lock()
	defer s.server.turns.mu.Unlock()
	for uid, u := range s.server.turns.users {
		if u.load != (load{}) || len(u.ring) > 0 {
			t.Errorf("user %d has %+v in work", uid, u.load)
		}
	}
}

// inWork is the number of calls of a user that the server counts.
func (s *suite) inWork(uid uint32) int {
	s.server.turns.mu.Lock()
	defer s.server.turns.mu.Unlock()
	if u := s.server.turns.users[uid]; u != nil {
		return u.calls
	}
	return 0
}

// TestRepeatedSerialsAreRefused: a call whose serial is that of one in work would end that one's
// count, and a user could have any number of calls in work.
func TestRepeatedSerialsAreRefused(t *testing.T) {
	needs.Root(t)
	s := newSuite(t, suiteOptions{noHammer: true})
	s.registry.block(t, "example.com/endless")
	_, job := s.startImport(t, s.connect(t), "docker://example.com/endless:1", nil)
	c := s.connectRawAs(t, nobody)
	ping := func(serial uint32) (name string) {
		h := c.header(peerInterface, "Ping")
		h.serial = serial
		c.write(t, h.appendTo(nil, nil))
		name, _ = errorOf(c.answer(t, serial))
		return name
	}
	wait := func() (serial uint32) {
		h := c.header(jobInterface, "Wait")
		h.flags, h.texts[godbus.FieldPath] = godbus.FlagNoReplyExpected, string(job)
		c.write(t, h.appendTo(nil, nil))
		return h.serial
	}
	missing := c.header(managerInterface, "Missing")
	missing.flags = godbus.FlagNoReplyExpected
	c.write(t, missing.appendTo(nil, nil))
	for range maxUserCalls - 2 {
		serial := wait()
		for _, again := range []uint32{serial, serial} {
			if name := ping(again); name != errInvalidArgs {
				t.Fatalf("a call with the serial of one in work is answered with %s", name)
			}
		}
	}
	// The serial of a call that is over may come again, and nothing ends the call that has it then.
	c.serial = missing.serial - 1
	serial := wait()
	if name := ping(serial); name != errInvalidArgs {
		t.Errorf("a serial used twice in turn: %s", name)
	}
	if n := s.inWork(nobody); n != maxUserCalls-1 {
		t.Errorf("%d calls are in work, want %d", n, maxUserCalls-1)
	}
	c.serial = 1000
	wait()
	if name := ping(2000); name != errLimitsExceeded {
		t.Errorf("%d calls wait, and one more is answered with %s", maxUserCalls, name)
	}
}
