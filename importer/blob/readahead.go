package blob

import (
	"errors"
	"io"
	"sync"
)

// readaheadBuffers is the number of buffers of a readahead: one to fill, one to inspect, one to
// read from, the rest to even out.
const readaheadBuffers = 8

// chunk is a piece of a stream. An error comes after data.
type chunk struct {
	data []byte
	err  error
}

// readahead reads a stream ahead of its reader. One goroutine reads, another inspects, and the
// buffers are used again.
type readahead struct {
	stop      <-chan struct{}
	free      chan []byte
	inspected chan chunk
	buffer    []byte // what current lies in, at full length
	current   chunk
}

// newReadahead starts to read src with buffers of size bytes. inspect sees each piece in order,
// with the error that follows it, and says which error to hand on. Both goroutines end at the first
// error or when stop is closed; running counts them.
func newReadahead(stop <-chan struct{}, running *sync.WaitGroup, src io.Reader, size int, inspect func([]byte, error) error) *readahead {
	a := &readahead{stop: stop, free: make(chan []byte, readaheadBuffers), inspected: make(chan chunk, readaheadBuffers)}
	for range readaheadBuffers {
		a.free <- make([]byte, size)
	}
	filled := make(chan chunk, readaheadBuffers)
	running.Go(func() { a.fill(src, filled) })
	running.Go(func() {
		defer close(a.inspected)
		for c := range filled {
			c.err = inspect(c.data, c.err)
			a.inspected <- c // has room for every buffer there is
			if c.err != nil {
				return
			}
		}
	})
	return a
}

func (a *readahead) fill(src io.Reader, filled chan<- chunk) {
	defer close(filled)
	for {
		select {
		case buf := <-a.free:
			n, err := fillBuffer(src, buf)
			filled <- chunk{buf[:n], err} // has room for every buffer there is
			if err != nil {
				return
			}
		case <-a.stop:
			return
		}
	}
}

// fillBuffer is io.ReadFull with the source's own error.
func fillBuffer(src io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = src.Read(buf[n:])
		n += m
	}
	return n, err
}

// errStopped is the error of a readahead that was stopped. Whoever stopped it knows why.
var errStopped = errors.New("reading was stopped")

// Read gives what was inspected.
func (a *readahead) Read(p []byte) (int, error) {
	for len(a.current.data) == 0 {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.buffer != nil {
			a.free <- a.buffer
			a.buffer = nil
		}
		select {
		case next, more := <-a.inspected:
			if !more {
				return 0, errStopped
			}
			a.current, a.buffer = next, next.data[:cap(next.data)]
		case <-a.stop:
			return 0, errStopped
		}
	}
	n := copy(p, a.current.data)
	a.current.data = a.current.data[n:]
	return n, nil
}
