package layertar

import (
	"context"
	"io"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Options is how a layer is imported. The zero value is usable.
type Options struct {
	Rules            Rules
	Labels           Labels // nil for none
	DropSpecialFiles bool   // leave devices and fifos out, counted under FilteredSpecial, instead of refusing the layer
	Writers          int    // files written at once; 0 means one per processor, at most four
	// Memory is what buffers, windows and the layer's tree are taken from; nil for a budget of the
	// default size.
	Memory *budget.Share
	// Holes counts those of the image's layers; nil bounds this layer alone.
	Holes *Holes
}

// Labels are the SELinux labels that a policy says. Its methods are called by several goroutines at
// once. *selinux.Policy is one.
type Labels interface {
	// ID identifies the policy: two policies with one ID give the same labels. It is empty for a
	// policy that gives none, as nil would be.
	ID() string
	// Xattr gives the attribute security.selinux of what has the absolute path in a commit. The
	// mode includes the file type. Where the policy says that there is none, ok is false.
	Xattr(path string, mode uint32) (label objects.Xattr, ok bool)
	// Err is an error because of which labels that were given may be wrong, or nil.
	Err() error
}

// Layer is what a layer must be.
type Layer = blob.Layer

// Stats tells what was imported.
type Stats struct {
	Entries      int               // all entries of the archive
	Uncompressed int64             // bytes of the uncompressed archive
	Filtered     map[string]uint32 // entries left out, by key as in MetaFiltered; nil for none
}

// Import reads a layer's blob from r to its end as blob.Read does, writes its objects into st, and
// when size, digest and diffID are verified the layer commit too. It sets no ref.
//
// A failed import leaves objects in st but no commit. Its error is an *EntryError for an entry that
// can't be imported, an error of st or of the labels, or one of blob.Read, which also says when r
// is closed.
func Import(ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer Layer, opts Options) (objects.Checksum, Stats, error) {
	if opts.Labels != nil && opts.Labels.ID() == "" {
		opts.Labels = nil
	}
	if opts.Memory == nil {
		opts.Memory = budget.Alone()
	}
	var entries *reader
	reading := blob.Options{Writers: opts.Writers, Memory: opts.Memory}
	uncompressed, err := blob.Read(ctx, r, layer, reading, func(_ context.Context, archive io.Reader, files *blob.Writers) error {
		entries = newReader(&writers{st, files, opts.Labels}, opts)
		return entries.readAll(archive)
	})
	if err != nil {
		if entries != nil {
			entries.holes.giveBack()
		}
		return objects.Checksum{}, Stats{}, err
	}
	if err := entries.settle(ctx); err != nil {
		return objects.Checksum{}, Stats{}, err
	}
	stats := Stats{Entries: entries.count, Uncompressed: uncompressed, Filtered: entries.filtered}
	commit, err := writeCommit(ctx, st, entries.tree, opts, layer.DiffID, stats.Filtered)
	if err != nil {
		return objects.Checksum{}, Stats{}, err
	}
	return commit, stats, nil
}
