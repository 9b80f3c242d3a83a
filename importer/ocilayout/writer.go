package ocilayout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Options are the settings of New.
type Options struct {
	// NoSync leaves it to the kernel when the image gets to the disk: for one that is deleted soon.
	NoSync bool
	// Parent is the directory that the destination is in, if somebody has opened it; it stays
	// theirs. nil: the one in its path.
	Parent *dirfd.Dir
}

// Writer writes one image to one destination. AddLayer, CopyBlob, PutBlob and Has may be called at
// the same time by several goroutines, and one that fails leaves nothing behind. Commit comes once
// and after them, Close last.
type Writer struct {
	name    string // the destination as the user knows it, for messages
	place   place
	tag     string
	staging *staging
	sync    bool

	mu    sync.Mutex
	blobs map[digest.Digest]int64 // size of each blob in the staging

	closing  sync.Once
	closeErr error
}

// place is where an image goes.
type place interface {
	// holds reports whether a blob is there already, and is what its digest says.
	holds(d ocispec.Descriptor) bool
	// publish takes the blobs out of the staging and makes the image visible, or fails and leaves
	// everything as it was.
	publish(ctx context.Context, p publication) error
	// close removes what was made for an image that isn't published.
	close() error
}

// publication is an image to publish.
type publication struct {
	staging *staging
	blobs   []ocispec.Descriptor   // all that the image consists of: each in the staging or at the place, none twice
	kept    map[digest.Digest]bool // of these, what the place holds already
	entry   ocispec.Descriptor     // for index.json
	tag     string
	sync    bool
}

// New begins to write the image dest, of the transport oci (DIR[:TAG]) or oci-archive (FILE[:TAG]).
// A directory that doesn't exist is made, one that holds something else than a layout is refused;
// the directory above must exist. A file is replaced. An image without a tag must be the only one
// in its layout, as nobody could name it otherwise. The path is resolved here, once; what is below
// the destination is never reached through a symbolic link. The caller must Close the writer.
// Errors: dirfd.ErrInRepository.
func New(dest reference.Image, opts Options) (*Writer, error) {
	w := &Writer{name: dest.String(), sync: !opts.NoSync, blobs: make(map[digest.Digest]int64)}
	path, tag, err := splitName(dest)
	if err == nil {
		w.tag = tag
		if dest.Transport == reference.TransportOCI {
			w.place, w.staging, err = openDirectory(path, tag, opts.Parent)
		} else {
			w.place, w.staging, err = openArchive(path, opts.Parent)
		}
	}
	if err != nil {
		return nil, w.failed(err)
	}
	return w, nil
}

func (w *Writer) failed(err error) error {
	return fmt.Errorf("write %s: %w", w.name, err)
}

// Has reports whether a blob need not be given to the writer, as the destination or the writer has
// it. What is at the destination is read: after a loss of power a file may have its size and no
// content.
func (w *Writer) Has(d ocispec.Descriptor) bool {
	return d.Digest.Validate() == nil && (w.staged(d) || w.place.holds(d))
}

func (w *Writer) staged(d ocispec.Descriptor) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	size, staged := w.blobs[d.Digest]
	return staged && size == d.Size
}

// AddLayer adds a layer, whose uncompressed archive fill writes. It returns the descriptor for the
// manifest and the diffID for the config. An error of fill is wrapped; when ctx ends, what fill
// writes to fails with its cause.
func (w *Writer) AddLayer(ctx context.Context, c Compression, fill func(io.Writer) error) (ocispec.Descriptor, digest.Digest, error) {
	diffID := digest.SHA256.Digester()
	d, err := w.stage(ctx, "", func(blob io.Writer) error {
		compressor, err := c.writer(blob)
		if err != nil {
			return err
		}
		if err := fill(io.MultiWriter(diffID.Hash(), compressor)); err != nil {
			return err
		}
		return compressor.Close()
	})
	if err != nil {
		return ocispec.Descriptor{}, "", w.failed(err)
	}
	d.MediaType = c.MediaType()
	return d, diffID.Digest(), nil
}

// CopyBlob adds a blob that exists already, and verifies it: blob.ErrSize or blob.ErrDigest when r
// does not give what d says. An error of r is wrapped. Ask Has first whether it is needed.
func (w *Writer) CopyBlob(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	err := d.Digest.Validate()
	if err == nil {
		_, err = w.stage(ctx, d.Digest, func(to io.Writer) error {
			// A byte more than promised tells a blob that is too long without reading all of it.
			n, err := io.Copy(to, io.LimitReader(r, d.Size+1))
			if err == nil && n != d.Size {
				err = fmt.Errorf("%w: %d or more bytes where it should have %d", blob.ErrSize, n, d.Size)
			}
			return err
		})
	}
	if err != nil {
		return w.failed(fmt.Errorf("blob %q: %w", d.Digest, err))
	}
	return nil
}

// PutBlob adds a small blob, such as a config, and returns its descriptor.
func (w *Writer) PutBlob(ctx context.Context, mediaType string, content []byte) (ocispec.Descriptor, error) {
	d, err := w.put(ctx, mediaType, content)
	if err != nil {
		return ocispec.Descriptor{}, w.failed(err)
	}
	return d, nil
}

func (w *Writer) put(ctx context.Context, mediaType string, content []byte) (ocispec.Descriptor, error) {
	d, err := w.stage(ctx, "", func(to io.Writer) error {
		_, err := to.Write(content)
		return err
	})
	d.MediaType = mediaType
	return d, err
}

// stage writes a blob into the staging. A want that isn't empty is the digest that it must have.
func (w *Writer) stage(ctx context.Context, want digest.Digest, fill func(io.Writer) error) (ocispec.Descriptor, error) {
	algorithm := digest.SHA256
	if want != "" {
		algorithm = want.Algorithm()
	}
	d, temporary, err := w.staging.write(ctx, algorithm, w.sync, fill)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if want != "" && d.Digest != want {
		err := fmt.Errorf("%w: %s", blob.ErrDigest, d.Digest)
		return ocispec.Descriptor{}, errors.Join(err, w.staging.Remove(temporary))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.staging.Rename(temporary, w.staging.Dir.Dir, w.staging.blob(d.Digest)); err != nil {
		return ocispec.Descriptor{}, err
	}
	w.blobs[d.Digest] = d.Size
	return d, nil
}

// Commit adds the manifest and publishes the image; blobs that the manifest does not name are left
// out. All that it names must have been added, or be at the destination. platform, when not nil, is
// noted in the index. The bytes of the manifest are kept as they are; its media type is the one in
// it, or that of an OCI manifest. After a failure the destination shows what it showed before, and
// the writer is of no more use.
func (w *Writer) Commit(ctx context.Context, manifest []byte, platform *ocispec.Platform) (ocispec.Descriptor, error) {
	d, err := w.commit(ctx, manifest, platform)
	if err != nil {
		return ocispec.Descriptor{}, w.failed(err)
	}
	return d, nil
}

func (w *Writer) commit(ctx context.Context, manifest []byte, platform *ocispec.Platform) (ocispec.Descriptor, error) {
	if len(manifest) > document.MaxSize {
		return ocispec.Descriptor{}, fmt.Errorf("the manifest has %d bytes, more than the %d that programs accept", len(manifest), document.MaxSize)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("the manifest is not that of an image: %w", err)
	}
	mediaType := m.MediaType
	if mediaType == "" {
		mediaType = ocispec.MediaTypeImageManifest
	}
	written, err := w.put(ctx, mediaType, manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	blobs := append(append([]ocispec.Descriptor{m.Config}, m.Layers...), written)
	kept := make(map[digest.Digest]bool)
	for _, d := range blobs {
		if d.Digest.Validate() == nil && w.place.holds(d) {
			kept[d.Digest] = true
		} else if !w.staged(d) {
			return ocispec.Descriptor{}, fmt.Errorf("the blob %q of %d bytes, which the manifest names, is missing", d.Digest, d.Size)
		}
	}
	slices.SortFunc(blobs, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	p := publication{staging: w.staging, kept: kept, entry: written, tag: w.tag, sync: w.sync}
	p.blobs = slices.CompactFunc(blobs, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest })
	p.entry.Platform = platform
	if w.tag != "" {
		p.entry.Annotations = map[string]string{ocispec.AnnotationRefName: w.tag}
	}
	return written, w.place.publish(ctx, p)
}

// Close deletes what is not published. Only the first call does anything; all return its error.
func (w *Writer) Close() error {
	w.closing.Do(func() {
		if err := errors.Join(w.staging.Close(), w.place.close()); err != nil {
			w.closeErr = w.failed(err)
		}
	})
	return w.closeErr
}
