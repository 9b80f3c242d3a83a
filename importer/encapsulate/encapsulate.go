package encapsulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// DefaultMaxLayers is what MaxLayers 0 means: half of what container engines take, so that
	// there is room for derived layers.
	DefaultMaxLayers = 64
	// maxLayers is what container engines take.
	maxLayers = 127
	// maxParallel bounds how many layers are written at once.
	maxParallel = 4
	// minReserved is the number of layers from which one is the empty chunk, as in ostree-ext.
	minReserved = 4
)

// Options are the settings of Encapsulate. The zero value is for a host's usual image.
type Options struct {
	Labels map[string]string // in addition to those that the commit gives, or in place of them
	// Copy names keys of the commit's metadata whose texts become labels of the same names; it is
	// an error if the commit has none of such a key. CopyOptional names those that it need not
	// have.
	Copy, CopyOptional []string
	// Config is what the config says of how a container is run, as the JSON object that an image's
	// config has under that name. What the other options say replaces the parts that they are
	// about.
	Config      []byte
	Cmd         []string  // nil: what the commit's metadata ostree.container-cmd says
	Arch, OS    string    // as OCI names them; empty: the host's, and linux
	Created     time.Time // zero: the commit's timestamp
	MaxLayers   int       // 0: DefaultMaxLayers
	SingleLayer bool      // no chunks
	Compression ocilayout.Compression
	Content     *ContentMap       // what the contents belong to; nil: what the commit's package database says
	Prior       *ocispec.Manifest // of an earlier image of the same system: what shared a layer in it does again
	RPM         *rpmdb.Reader     // reads RPM databases; nil: they are not taken into account
}

// Result is what Encapsulate wrote.
type Result struct {
	ManifestDigest, ConfigDigest digest.Digest
	Layers                       []Layer       // the first is that of the commit
	FinalDiffID                  digest.Digest // of the last layer
	Chunking                     Chunking
	Note                         string // why the layers are not by package though the commit has a package database; else empty
}

// Layer is one layer of an image.
type Layer struct {
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest
	Name       string   // for people
	Components []string // what a chunk holds, sorted
}

// Progress tells how far Encapsulate is.
type Progress struct {
	Bytes, BytesTotal   uint64 // contents, before compression
	Layers, LayersTotal int    // layers that are written
}

// source is the commit that is encapsulated.
type source struct {
	checksum objects.Checksum
	commit   objects.Commit
	raw      []byte       // the commit object
	detached objects.Dict // its detached metadata; nil for none
	tree     *tree
}

// Encapsulate writes a commit as an image and commits w, which the caller closes. The same commit
// and options give the same bytes; but without Options.RPM, a commit with an RPM database is parted
// in another way. progress, when not nil, is called by one goroutine at a time and must not block.
// Errors: ostreerepo.ErrNoObject and ErrCorrupted for a commit that is not whole, with the path
// that is concerned; the cause that ctx ended of.
func Encapsulate(
	ctx context.Context, repo *ostreerepo.Repo, commit objects.Checksum, w *ocilayout.Writer, opts Options, progress func(Progress),
) (Result, error) {
	result, err := encapsulate(ctx, repo, commit, w, opts, progress)
	if err != nil {
		return Result{}, fmt.Errorf("encapsulate %s: %w", commit, err)
	}
	return result, nil
}

func encapsulate(
	ctx context.Context, repo *ostreerepo.Repo, commit objects.Checksum, w *ocilayout.Writer, opts Options, progress func(Progress),
) (Result, error) {
	if err := opts.check(); err != nil {
		return Result{}, err
	}
	s, err := load(ctx, repo, commit)
	if err != nil {
		return Result{}, err
	}
	if _, err := labels(s, opts, ""); err != nil { // before the work is done
		return Result{}, err
	}
	var result Result
	var chunks []chunk
	if chunks, result.Chunking, result.Note, err = s.chunks(ctx, opts); err != nil {
		return Result{}, err
	}
	if result.Layers, err = s.writeLayers(ctx, w, chunks, opts, progress); err != nil {
		return Result{}, err
	}
	result.FinalDiffID = result.Layers[len(result.Layers)-1].DiffID
	return result, s.writeDocuments(ctx, w, opts, &result)
}

func (o Options) check() error {
	if o.MaxLayers < 0 || o.MaxLayers > maxLayers {
		return fmt.Errorf("%d layers are not possible; ask for 1 to %d, or 0 for %d", o.MaxLayers, maxLayers, DefaultMaxLayers)
	}
	return nil
}

// layers is how many layers the image may have.
func (o Options) layers() int {
	switch {
	case o.SingleLayer:
		return 1
	case o.MaxLayers == 0:
		return DefaultMaxLayers
	}
	return o.MaxLayers
}

func (o Options) platform() ocispec.Platform {
	p := ocispec.Platform{Architecture: o.Arch, OS: o.OS}
	if p.Architecture == "" {
		p.Architecture = runtime.GOARCH
	}
	if p.OS == "" {
		p.OS = "linux"
	}
	return p
}

// load reads all of the commit but the contents.
func load(ctx context.Context, repo *ostreerepo.Repo, c objects.Checksum) (*source, error) {
	s := &source{checksum: c}
	var err error
	if s.commit, s.raw, err = readCommit(repo, c); err != nil {
		return nil, err
	}
	if s.detached, err = repo.Detached(c); err != nil && !errors.Is(err, ostreerepo.ErrNoObject) {
		return nil, err
	}
	s.tree, err = scan(ctx, repo, objects.TreeDir{Tree: s.commit.Tree, Meta: s.commit.Meta})
	return s, err
}

// chunks parts the contents. None means that they all go to the layer of the commit. The last one
// is empty: it is what the label of the last layer names, so that the label stays true when
// ostree-ext makes the other archives in its own way.
func (s *source) chunks(ctx context.Context, opts Options) ([]chunk, Chunking, string, error) {
	n := opts.layers() - 1
	if n == 0 {
		return nil, ChunkingSingle, "", nil
	}
	parts, by, note, err := components(ctx, s.tree, opts)
	if err != nil {
		return nil, "", "", err
	}
	reserved := n+1 >= minReserved
	if reserved {
		n--
	}
	chunks := pack(parts, priorChunks(opts.Prior), n)
	switch {
	case len(chunks) == 0:
		by = ChunkingSingle // there is nothing to part
	case reserved:
		chunks = append(chunks, chunk{})
	}
	return chunks, by, note, nil
}

// writeLayers writes the layers, several at once.
func (s *source) writeLayers(ctx context.Context, w *ocilayout.Writer, chunks []chunk, opts Options, progress func(Progress)) ([]Layer, error) {
	layers := make([]Layer, 1+len(chunks))
	layers[0].Name = s.describe()
	for i, c := range chunks {
		layers[1+i].Name, layers[1+i].Components = describeChunk(c.components), c.components
	}
	meter := newMeter(s.tree.size, len(layers), progress)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxParallel))
	for i := range layers {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l := &layers[i]
			var err error
			l.Descriptor, l.DiffID, err = w.AddLayer(ctx, opts.Compression, func(to io.Writer) error {
				a := newArchiver(ctx, s.tree.repo, to, meter.content)
				switch {
				case i > 0:
					return a.chunk(chunks[i-1].contents)
				case len(chunks) > 0:
					return a.commitLayer(s, nil)
				}
				return a.commitLayer(s, s.tree.sorted())
			})
			if err != nil {
				return fmt.Errorf("layer %d/%d: %w", i+1, len(layers), err)
			}
			meter.layer()
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return layers, nil
}

// writeDocuments writes config and manifest, which make the image visible.
func (s *source) writeDocuments(ctx context.Context, w *ocilayout.Writer, opts Options, result *Result) error {
	l, err := labels(s, opts, result.FinalDiffID)
	if err != nil {
		return err
	}
	raw, err := config(s, opts, result.Layers, l)
	if err != nil {
		return err
	}
	written, err := w.PutBlob(ctx, ocispec.MediaTypeImageConfig, raw)
	if err != nil {
		return err
	}
	result.ConfigDigest = written.Digest
	if raw, err = manifest(written, result.Layers, l); err != nil {
		return err
	}
	platform := opts.platform()
	written, err = w.Commit(ctx, raw, &platform)
	result.ManifestDigest = written.Digest
	return err
}

// meter sums up the progress of several goroutines.
type meter struct {
	report func(Progress)
	mu     sync.Mutex
	now    Progress
}

func newMeter(bytes int64, layers int, report func(Progress)) *meter {
	return &meter{report: report, now: Progress{BytesTotal: uint64(bytes), LayersTotal: layers}}
}

func (m *meter) content(c *content) {
	m.update(func(p *Progress) { p.Bytes += uint64(c.size) })
}

func (m *meter) layer() {
	m.update(func(p *Progress) { p.Layers++ })
}

func (m *meter) update(change func(*Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.now)
	if m.report != nil {
		m.report(m.now)
	}
}
