package layertar

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Options is how a layer is imported. The zero value is usable.
type Options struct {
	Rules            Rules
	DropSpecialFiles bool // leave devices and fifos out, counted under FilteredSpecial, instead of refusing the layer
	Writers          int  // files written at once; 0 means one per processor, at most four
}

// Layer is what a layer must be.
type Layer struct {
	Descriptor ocispec.Descriptor // of the blob; size and digest are verified, the media type is not looked at
	DiffID     digest.Digest      // of the uncompressed archive
}

// Stats tells what was imported.
type Stats struct {
	Entries      int               // all entries of the archive
	Uncompressed int64             // bytes of the uncompressed archive
	Filtered     map[string]uint32 // entries left out, by key as in MetaFiltered; nil for none
}

// Import reads a layer's blob from r to its end (raw, and compressed with gzip, zstd, xz or nothing, whatever the media type says),
// writes its objects into st, and when size, digest and diffID are verified the layer commit too. It sets no ref.
//
// A failed import leaves objects in st but no commit. Its error is an *EntryError for an entry that can't be imported, has one of
// this package's sentinels for a stream that isn't what it should be, is r's error, an error of st, or the cause that ctx ended of.
//
// An r that is an io.Closer is closed, at the end or as soon as the import fails or ctx ends, which releases a Read that hangs. Any
// other r must see to that itself, because Import returns only when its last Read has returned.
func Import(ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer Layer, opts Options) (objects.Checksum, Stats, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)

	archive, err := openStream(ctx, &running, r, layer)
	if err != nil {
		return objects.Checksum{}, Stats{}, err
	}
	files := startWriters(ctx, cancel, &running, st, opts.Writers)
	entries := newReader(files, opts)
	if err := archive.finish(entries.readAll(archive)); err != nil {
		return objects.Checksum{}, Stats{}, firstCause(ctx, cancel, err)
	}
	if err := files.finish(); err != nil {
		return objects.Checksum{}, Stats{}, firstCause(ctx, cancel, err)
	}
	stats := Stats{Entries: entries.count, Uncompressed: archive.uncompressed(), Filtered: entries.filtered}
	commit, err := writeCommit(ctx, st, entries.tree, opts.Rules, layer.DiffID, stats.Filtered)
	if err != nil {
		return objects.Checksum{}, Stats{}, firstCause(ctx, cancel, err)
	}
	return commit, stats, nil
}

// firstCause ends ctx because of err, unless it has ended before, and gives the cause of its end: what failed in one goroutine makes
// the others fail too, and the first failure is the one to report.
func firstCause(ctx context.Context, cancel context.CancelCauseFunc, err error) error {
	cancel(err)
	return context.Cause(ctx)
}
