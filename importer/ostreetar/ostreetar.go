package ostreetar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// ErrNoCommit is that of a layer without a commit object.
var ErrNoCommit = errors.New("the layer holds no OSTree commit, as the first layer of an encapsulated commit does")

// Options is how a layer is read. The zero value is usable.
type Options struct {
	// Verify, when not nil, is called once with a commit object and its detached metadata, nil for
	// none, before anything of the layer is written: to check signatures. The commit has the
	// checksum that its name says; nothing vouches for the detached metadata. Both are as the
	// archive has them and must not be changed. Its ctx ends when reading fails. Its error is that
	// of ReadCommit. It is not called for a chunk.
	Verify func(ctx context.Context, commit, detached []byte) error
	// KeepDetached lets a layer only add to the detached metadata that the repository has of the
	// commit, not replace any: to be set unless somebody vouches for what it brings.
	KeepDetached bool
	Writers      int // objects written at once; 0 means one per processor, at most four
	// Memory is what buffers, windows and the tables of objects are taken from; nil for a budget of
	// the default size.
	Memory *budget.Share
}

// Stats tells what was read.
type Stats struct {
	Entries      int   // all entries of the archive
	Objects      int   // dirtree, dirmeta and content objects among them
	Present      int   // of these, how many were there already and were not read
	Uncompressed int64 // bytes of the uncompressed archive
}

// Commit is what a commit layer brings.
type Commit struct {
	Checksum objects.Checksum
	Detached bool // there are detached metadata, which land with the commit
}

// ReadCommit reads a commit layer's blob from r to its end as blob.Read does, writes its objects
// into st, and when the blob is verified the commit with its detached metadata too, other than
// those by which importers speak of their own work. It sets no ref, and the commit need not be
// complete: ask Staging.Complete when the chunks of the image are there.
//
// A failed call leaves objects in st but no commit. Its error is a *blob.EntryError for an entry
// that can't be taken, ErrNoCommit, that of Options.Verify, an error of st, or one of blob.Read,
// which also says when r is closed.
func ReadCommit(ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer blob.Layer, opts Options) (Commit, Stats, error) {
	entries := &reader{st: st, verify: opts.Verify}
	if err := entries.read(ctx, r, layer, opts); err != nil {
		return Commit{}, Stats{}, err
	}
	c := entries.commit
	if c == nil {
		return Commit{}, Stats{}, ErrNoCommit
	}
	if err := st.WriteMetadata(objects.KindCommit, c.checksum, c.bytes); err != nil {
		return Commit{}, Stats{}, writeError(c.entry, err)
	}
	if c.detached != nil {
		if err := writeDetached(st, c.checksum, c.detached, opts.KeepDetached); err != nil {
			return Commit{}, Stats{}, writeError(c.entry, err)
		}
	}
	return Commit{Checksum: c.checksum, Detached: c.detached != nil}, entries.stats, nil
}

// notFromLayers are prefixes of keys in detached metadata by which importers speak of what they
// have done themselves.
var notFromLayers = [...]string{"ostree-importd.", "ostree-ext.cached."}

// writeDetached writes what a layer brings of detached metadata; with keep, only in addition to
// what is there.
func writeDetached(st *ostreerepo.Staging, c objects.Checksum, brought objects.Dict, keep bool) error {
	result := objects.Dict{}
	for key, value := range brought {
		if !slices.ContainsFunc(notFromLayers[:], func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			result[key] = value
		}
	}
	existing, err := st.Detached(c)
	if err != nil && !errors.Is(err, ostreerepo.ErrNoObject) && !errors.Is(err, ostreerepo.ErrCorrupted) {
		return err
	}
	for key, value := range existing {
		_, isBrought := result[key]
		if keep || !isBrought {
			result[key] = value
		}
	}
	return st.WriteDetached(c, result)
}

// ReadChunk reads a chunk's blob in the same way, and gives its chunk commit: a root directory with
// every content object of the chunk under the name of its checksum. It exists to keep the objects
// from being pruned, and is the same whoever writes it: without metadata, with timestamp 0, the
// root directory of mode 0755 and user and group 0.
func ReadChunk(ctx context.Context, st *ostreerepo.Staging, r io.Reader, layer blob.Layer, opts Options) (objects.Checksum, Stats, error) {
	entries := &reader{st: st, chunk: make(map[objects.Checksum]struct{})}
	if err := entries.read(ctx, r, layer, opts); err != nil {
		return objects.Checksum{}, Stats{}, err
	}
	commit, err := writeChunk(st, entries.chunk)
	if err != nil {
		return objects.Checksum{}, Stats{}, err
	}
	return commit, entries.stats, nil
}

// writeChunk writes the chunk commit of content objects.
func writeChunk(st *ostreerepo.Staging, chunk map[objects.Checksum]struct{}) (objects.Checksum, error) {
	var tree objects.DirTree
	for _, c := range slices.SortedFunc(maps.Keys(chunk), func(a, b objects.Checksum) int { return bytes.Compare(a[:], b[:]) }) {
		tree.Files = append(tree.Files, objects.TreeFile{Name: c.String(), Checksum: c})
	}
	treeSum, err := st.WriteDirTree(tree)
	if err != nil {
		return objects.Checksum{}, err
	}
	metaSum, err := st.WriteDirMeta(objects.DirMeta{Mode: syscall.S_IFDIR | 0o755})
	if err != nil {
		return objects.Checksum{}, err
	}
	return st.WriteCommit(objects.Commit{Tree: treeSum, Meta: metaSum})
}
