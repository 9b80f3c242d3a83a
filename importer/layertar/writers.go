package layertar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	maxWriters = 4
	// smallFile is the size up to which a file is buffered and left to a writer. A larger one is written while it is read.
	smallFile = 1 << 20
	// queuedPerWriter is the number of buffered files per writer: one being written and two waiting.
	queuedPerWriter = 3
)

// content is a file or symbolic link in the repository. Hard links share one.
type content struct {
	checksum objects.Checksum // set when the writers have finished
	target   string           // of a symbolic link; empty for a file
}

// writers write files into a staging repository, several at once and within a fixed amount of memory. Its methods are called by one
// goroutine.
type writers struct {
	st       *ostreerepo.Staging
	stop     <-chan struct{}
	fail     context.CancelCauseFunc
	jobs     chan writeJob
	buffers  chan []byte // nil until used for the first time
	finished sync.WaitGroup
}

type writeJob struct {
	entry  string
	header objects.FileHeader
	buffer []byte // to be given back
	data   []byte
	result *content
}

// startWriters starts n writers, or a default for 0. They end with ctx, at the latest, and end it through fail when they fail.
func startWriters(ctx context.Context, fail context.CancelCauseFunc, running *sync.WaitGroup, st *ostreerepo.Staging, n int) *writers {
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), maxWriters)
	}
	w := &writers{st: st, stop: ctx.Done(), fail: fail, jobs: make(chan writeJob, queuedPerWriter*n), buffers: make(chan []byte, queuedPerWriter*n)}
	for range cap(w.buffers) {
		w.buffers <- nil
	}
	for range n {
		w.finished.Go(w.work)
	}
	running.Go(w.finished.Wait)
	return w
}

func (w *writers) work() {
	for {
		select {
		case job, more := <-w.jobs:
			if !more {
				return
			}
			if err := w.write(job); err != nil {
				w.fail(err)
				return
			}
			w.buffers <- job.buffer // has room for every buffer there is
		case <-w.stop:
			return
		}
	}
}

func (w *writers) write(job writeJob) (err error) {
	if job.result.target != "" {
		job.result.checksum, err = w.st.WriteSymlink(job.header)
	} else {
		job.result.checksum, err = w.st.WriteFile(job.header, int64(len(job.data)), bytes.NewReader(job.data))
	}
	return writeError(job.entry, err)
}

func writeError(entry string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing %s: %w", quote(entry), err)
}

// file writes a regular file of size bytes, which it reads from r before it returns. An error of r is returned as it is.
func (w *writers) file(entry string, header objects.FileHeader, size int64, r io.Reader) (*content, error) {
	if size > smallFile {
		return w.large(entry, header, size, r)
	}
	buffer, err := w.buffer()
	if err != nil {
		return nil, err
	}
	if int64(len(buffer)) < size {
		buffer = make([]byte, bufferSize(size))
	}
	if _, err := io.ReadFull(r, buffer[:size]); err != nil {
		return nil, err
	}
	result := new(content)
	w.jobs <- writeJob{entry, header, buffer, buffer[:size], result} // has room for every buffer there is
	return result, nil
}

// symlink writes a symbolic link.
func (w *writers) symlink(entry string, header objects.FileHeader) (*content, error) {
	buffer, err := w.buffer()
	if err != nil {
		return nil, err
	}
	result := &content{target: header.Target}
	w.jobs <- writeJob{entry, header, buffer, nil, result}
	return result, nil
}

func (w *writers) buffer() ([]byte, error) {
	select {
	case buffer := <-w.buffers:
		return buffer, nil
	case <-w.stop:
		return nil, errStopped
	}
}

// bufferSize grows in few steps, so that the buffers of a layer of small files stay small and are still used again.
func bufferSize(size int64) int64 {
	if size <= smallFile/16 {
		return smallFile / 16
	}
	return smallFile
}

func (w *writers) large(entry string, header objects.FileHeader, size int64, r io.Reader) (*content, error) {
	source := &stoppableReader{r: r, stop: w.stop}
	checksum, err := w.st.WriteFile(header, size, source)
	switch {
	case source.err != nil:
		return nil, source.err
	case err != nil:
		return nil, writeError(entry, err)
	}
	return &content{checksum: checksum}, nil
}

// finish waits until everything is written.
func (w *writers) finish() error {
	close(w.jobs)
	w.finished.Wait()
	select {
	case <-w.stop:
		return errStopped
	default:
		return nil
	}
}

// stoppableReader tells the errors of reading from those of writing, and can be stopped even where the content of a sparse file takes
// no reading.
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
