package blob

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

// Layer is what a layer must be.
type Layer struct {
	// Descriptor is that of the blob. Digest and size are verified, but for a size of -1, which is
	// not known. The media type is not looked at.
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest // of the uncompressed archive
}

// Options is how a layer is read. The zero value is usable.
type Options struct {
	Writers int           // contents written at once; 0 means one per processor, at most four
	Memory  *budget.Share // what buffers and windows are taken from; nil for one of the default size
}

// Read reads a layer's blob from r to its end (raw, and compressed with gzip, zstd, xz or nothing,
// whatever the media type says) and gives the uncompressed archive to read, which reads as much of
// it as it wants and hands the contents of files to the writers. When read has returned nil, the
// rest is read and everything verified, and when all writers are done the number of bytes of the
// archive is returned.
//
// The error is that of read or of a writer, whichever came first, or has one of this package's
// sentinels for a stream that isn't what it should be, or is r's error, or the cause that ctx ended
// of. When the blob itself turns out to be a wrong one, that is the error even if read has
// complained about a damaged archive before. The ctx of read ends as soon as anything has failed.
//
// An r that is an io.Closer is closed, at the end or as soon as reading fails or ctx ends, which
// releases a Read that hangs. Any other r must see to that itself, because this function returns
// only when its last Read has returned.
func Read(
	ctx context.Context, r io.Reader, layer Layer, opts Options, read func(ctx context.Context, archive io.Reader, files *Writers) error,
) (uncompressed int64, err error) {
	if opts.Memory == nil {
		opts.Memory = budget.Alone()
	}
	writers := writersFor(opts.Writers)
	if err := opts.Memory.Take(streamMemory + int64(writers)*writerMemory); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)

	archive, err := openStream(ctx, &running, r, layer, opts.Memory)
	if err != nil {
		return 0, err
	}
	files := startWriters(ctx, cancel, &running, writers)
	err = archive.finish(read(ctx, archive, files))
	if err == nil {
		err = files.finish()
	}
	if err != nil {
		// What fails in one goroutine makes the others fail too, and the first failure is the one
		// to report.
		cancel(err)
		return 0, context.Cause(ctx)
	}
	return archive.uncompressed(), nil
}
