package blob

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"
)

const (
	maxWriters = 4
	// SmallFile is the size in bytes up to which a content is buffered and left to a writer. A
	// larger one is written while it is read.
	SmallFile = 1 << 20
	// queuedPerWriter is the number of buffered contents per writer: one being written and two
	// waiting.
	queuedPerWriter = 3
	// writerMemory is the memory of a writer, in bytes.
	writerMemory = (queuedPerWriter + 1) * SmallFile
)

// Writers write contents of an archive, several at once and within a fixed amount of memory. Their
// methods are called by one goroutine, that of the reader.
type Writers struct {
	stop     <-chan struct{}
	fail     context.CancelCauseFunc
	jobs     chan writeJob
	buffers  chan []byte // nil until used for the first time
	finished sync.WaitGroup
}

type writeJob struct {
	buffer []byte // to be given back
	data   []byte
	write  func(io.Reader) error
}

// writersFor gives the number of writers: n, or a default for 0.
func writersFor(n int) int {
	if n > 0 {
		return n
	}
	return min(runtime.GOMAXPROCS(0), maxWriters)
}

// startWriters starts n writers. They end with ctx, at the latest, and end it through fail when
// they fail.
func startWriters(ctx context.Context, fail context.CancelCauseFunc, running *sync.WaitGroup, n int) *Writers {
	w := &Writers{stop: ctx.Done(), fail: fail, jobs: make(chan writeJob, queuedPerWriter*n), buffers: make(chan []byte, queuedPerWriter*n)}
	for range cap(w.buffers) {
		w.buffers <- nil
	}
	for range n {
		w.finished.Go(w.work)
	}
	running.Go(w.finished.Wait)
	return w
}

func (w *Writers) work() {
	for {
		select {
		case job, more := <-w.jobs:
			if !more {
				return
			}
			if err := job.write(bytes.NewReader(job.data)); err != nil {
				w.fail(err)
				return
			}
			w.buffers <- job.buffer // has room for every buffer there is
		case <-w.stop:
			return
		}
	}
}

// Write has write called with a content of size bytes, all of which it reads from r before it
// returns: a small content is given to write later, by another goroutine, a larger one at once. An
// error of r is returned as it is, whatever write makes of it. An error of a later call ends the
// reading of the blob, for which it is the cause.
func (w *Writers) Write(size int64, r io.Reader, write func(content io.Reader) error) error {
	if size > SmallFile {
		source := &stoppableReader{r: r, stop: w.stop}
		err := write(source)
		if source.err != nil {
			return source.err
		}
		return err
	}
	var buffer []byte
	select {
	case buffer = <-w.buffers:
	case <-w.stop:
		return errStopped
	}
	if int64(len(buffer)) < size {
		buffer = make([]byte, bufferSize(size))
	}
	if _, err := io.ReadFull(r, buffer[:size]); err != nil {
		return err
	}
	w.jobs <- writeJob{buffer, buffer[:size], write} // has room for every buffer there is
	return nil
}

// bufferSize grows in few steps, so that the buffers of a layer of small files stay small and are
// still used again.
func bufferSize(size int64) int64 {
	if size <= SmallFile/16 {
		return SmallFile / 16
	}
	return SmallFile
}

// finish waits until everything is written.
func (w *Writers) finish() error {
	close(w.jobs)
	w.finished.Wait()
	select {
	case <-w.stop:
		return errStopped
	default:
		return nil
	}
}

// stoppableReader tells the errors of reading from those of writing, and can be stopped even where
// the content of a sparse file takes no reading.
type stoppableReader struct {
	r    io.Reader
	stop <-chan struct{}
	err  error // the first error other than io.EOF
}

func (s *stoppableReader) Read(p []byte) (int, error) {
	select {
	case <-s.stop:
		s.err = errStopped
		return 0, s.err
	default:
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
