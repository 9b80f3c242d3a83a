package dbus

import (
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
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
