package blob

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

const (
	blobBuffer    = 64 << 10
	archiveBuffer = 256 << 10

	// streamMemory is the memory of a stream, in bytes, without the window of a decoder.
	streamMemory = readaheadBuffers*(blobBuffer+archiveBuffer) + inputBuffer + 64<<10
)

// stream is a layer's uncompressed archive while it is read, decompressed and verified.
type stream struct {
	blob     *readahead // the blob, verified
	archive  *readahead // the archive, verified
	verifier *verifier  // of the archive

	stopDecompressing context.CancelFunc
	decompressing     sync.WaitGroup
}

// openStream starts to read r. What it starts ends with ctx and is counted by running; r is then
// closed if it can be.
func openStream(ctx context.Context, running *sync.WaitGroup, r io.Reader, layer Layer, memory *budget.Share) (*stream, error) {
	if layer.Descriptor.Size < anySize {
		return nil, fmt.Errorf("%w: the descriptor says %d bytes", ErrSize, layer.Descriptor.Size)
	}
	blob, err := newVerifier(layer.Descriptor.Digest, layer.Descriptor.Size, ErrDigest)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	archive, err := newVerifier(layer.DiffID, anySize, ErrDiffID)
	if err != nil {
		return nil, fmt.Errorf("diffID: %w", err)
	}
	if closer, ok := r.(io.Closer); ok {
		running.Go(func() {
			<-ctx.Done()
			closer.Close() // the verdict on what was read does not depend on it
		})
	}
	s := &stream{verifier: archive}
	s.blob = newReadahead(ctx.Done(), running, r, blobBuffer, blob.inspect)
	decompressing, stop := context.WithCancel(ctx)
	s.stopDecompressing = stop
	s.archive = newReadahead(decompressing.Done(), &s.decompressing, newDecompressor(s.blob, memory), archiveBuffer, archive.inspect)
	running.Go(s.decompressing.Wait)
	return s, nil
}

// Read gives the archive. Its end is an error unless it has the right diffID.
func (s *stream) Read(p []byte) (int, error) { return s.archive.Read(p) }

// uncompressed is the number of bytes of the archive. It is known when finish has returned nil.
func (s *stream) uncompressed() int64 { return s.verifier.read }

// finish takes the outcome of reading the archive, and reads what is left of it and of the blob, so
// that everything is verified whatever comes after the archive's end. For a damaged archive the
// blob's verdict tells why: that of a blob which is not the right one comes first.
func (s *stream) finish(err error) error {
	if err == nil {
		_, err = io.Copy(io.Discard, s.archive)
	}
	if err != nil && !IsDamage(err) {
		return err
	}
	s.stopDecompressing()
	s.decompressing.Wait()
	if _, blobErr := io.Copy(io.Discard, s.blob); blobErr != nil {
		return blobErr
	}
	return err
}
