package ostreerepo

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

const (
	// holeBlock is the size of the blocks that become holes when they hold only zeros: the usual
	// block of a file system.
	holeBlock = 4 << 10
	// dense is the size up to which a file has no holes: they would hardly save anything.
	dense = 64 << 10
)

var zeroBlock [holeBlock]byte

// holeWriter writes a file from its beginning and leaves out blocks of zeros. They read as zeros,
// but take no space. A few bytes of an archive can stand for a hole of any size.
type holeWriter struct {
	tempFile
	offset int64
	hole   bool // the file has to be extended to offset
}

// Write writes all of p, or accounts for it.
func (w *holeWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := w.zeros(rest)
		if n == 0 {
			n = w.data(rest)
			if err := w.writeAt(rest[:n]); err != nil {
				return len(p) - len(rest), err
			}
			w.hole = false
		} else {
			w.hole = true
		}
		w.offset += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// zeros gives the length of the whole blocks of zeros that p begins with.
func (w *holeWriter) zeros(p []byte) int {
	if w.offset%holeBlock != 0 {
		return 0
	}
	n := 0
	for len(p)-n >= holeBlock && bytes.Equal(p[n:n+holeBlock], zeroBlock[:]) {
		n += holeBlock
	}
	return n
}

// data gives the length of what p begins with up to the next whole block of zeros.
func (w *holeWriter) data(p []byte) int {
	n := min(len(p), holeBlock-int(w.offset%holeBlock))
	for len(p)-n >= holeBlock && !bytes.Equal(p[n:n+holeBlock], zeroBlock[:]) {
		n += holeBlock
	}
	if len(p)-n < holeBlock {
		return len(p)
	}
	return n
}

// writeAt writes all of p at the present offset.
func (w *holeWriter) writeAt(p []byte) error {
	for done := 0; done < len(p); {
		n, err := unix.Pwrite(w.fd, p[done:], w.offset+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return w.error("write", err)
		}
		done += n
	}
	return nil
}

// finish makes the file as long as what was written, where it ends in a hole.
func (w *holeWriter) finish() error {
	if !w.hole {
		return nil
	}
	if err := unix.Ftruncate(w.fd, w.offset); err != nil {
		return w.error("truncate", err)
	}
	return nil
}

// writeContent has content write the file's content, of size bytes, to its argument.
func (f tempFile) writeContent(size int64, content func(io.Writer) error) error {
	if size <= dense {
		return content(f)
	}
	w := &holeWriter{tempFile: f}
	if err := content(w); err != nil {
		return err
	}
	return w.finish()
}
