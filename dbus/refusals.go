package dbus

import (
	"net"
	"sync"
	"time"
)

// refusals writes the answers to calls that the gate has refused. They are the last to be written:
// a flood of calls makes a flood of them, and the bus takes only about 2 KiB at a time from one
// connection, so that whatever is written behind them waits.
type refusals struct {
	socket net.Conn
	ended  chan struct{} // closed when all is written

	mu      sync.Mutex
	changed sync.Cond
	queue   [][]byte
	bytes   int  // in queue
	urgent  int  // messages that are being written and are none of these
	closing bool // no more will come
}

// pieceSize is how many bytes of refusals are written at once, and sendBuffer is how many bytes the
// kernel is to hold of what is written: what is urgent waits behind them. Linux makes the latter a
// little more.
const (
	pieceSize  = 1 << 10
	sendBuffer = 2 << 10
)

func newRefusals(socket net.Conn) *refusals {
	r := &refusals{socket: socket, ended: make(chan struct{})}
	r.changed.L = &r.mu
	if unix, is := socket.(*net.UnixConn); is {
		_ = unix.SetWriteBuffer(sendBuffer) // a larger one costs time only
	}
	go r.run()
	return r
}

// add has a refusal written when nothing else is to be, unless maxRefusals wait already.
func (r *refusals) add(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+len(message) > maxRefusals {
		return
	}
	r.bytes += len(message)
	if last := len(r.queue) - 1; last >= 0 && len(r.queue[last])+len(message) <= pieceSize {
		r.queue[last] = append(r.queue[last], message...)
	} else {
		r.queue = append(r.queue, message)
	}
	r.changed.Signal()
}

// write writes a message before the refusals that wait.
func (r *refusals) write(message []byte) (int, error) {
	r.mu.Lock()
	r.urgent++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.urgent--
		r.changed.Signal()
	}()
	return r.socket.Write(message)
}

// run writes refusals until close is called and none is left, or the socket takes no more.
func (r *refusals) run() {
	defer close(r.ended)
	for {
		piece := r.next()
		if piece == nil {
			return
		}
		if _, err := r.socket.Write(piece); err != nil {
			return
		}
	}
}

// next waits for the next piece to write; nil means that there will be none.
func (r *refusals) next() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 && !r.closing || r.urgent > 0 {
		r.changed.Wait()
	}
	if len(r.queue) == 0 {
		return nil
	}
	piece := r.queue[0]
	r.queue = r.queue[1:]
	r.bytes -= len(piece)
	return piece
}

// close writes what is left, as far as the bus takes it soon.
func (r *refusals) close() {
	r.mu.Lock()
	r.closing = true
	r.changed.Signal()
	r.mu.Unlock()
	// An error means that the socket is closed already.
	_ = r.socket.SetWriteDeadline(time.Now().Add(drainTime))
	<-r.ended
}
