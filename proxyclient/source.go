package proxyclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is one opened image, read through as many proxies as that takes: one
// for all streams where the protocol has GetRawBlob, one for each stream
// otherwise. All of them serve the same manifest. Methods may be called
// concurrently.
type Source struct {
	cfg      Config
	target   *target
	manifest Manifest
	pool     *pool

	mu     sync.Mutex
	config []byte        // when it has been read
	left   time.Duration // of the limit for documents
}

// OpenSource opens an image by a reference as `skopeo copy` takes it, and reads its manifest.
// Transient errors are retried as cfg says, within the limit for documents. ctx governs the opening
// only. Where cfg.User may not enter a directory above a local image, the proxy gets a mount
// namespace in which it can reach the image, and the image only; its files must be readable for
// that user. For containers-storage and docker-daemon images the proxy runs as the caller's user.
func OpenSource(ctx context.Context, cfg Config, ref string) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t, err := newTarget(&cfg, ref)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, target: t, left: cfg.Timeouts.Documents}
	var first *member
	err = s.document(ctx, func(ctx context.Context) (err error) {
		if first, err = s.open(ctx, t.ref); err != nil {
			return err
		}
		if s.manifest, err = first.image.Manifest(ctx); err != nil {
			first.proxy.discard()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	t.pin(s.manifest.Digest)
	s.pool = newPool(s.another, first)
	return s, nil
}

// document reads a document with do, and again after transient errors, within what is left of the
// time that all documents may take together.
func (s *Source) document(ctx context.Context, do func(context.Context) error) error {
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, left, documentsLate(s.cfg.Timeouts.Documents))
	defer cancel()
	err := s.cfg.retry(ctx, func() error { return do(ctx) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left -= time.Since(began)
	return err
}

// documentsLate is the error of documents that took longer than this.
type documentsLate time.Duration

func (d documentsLate) Error() string {
	return fmt.Sprintf("the image's manifest and configuration did not come within %v; check the network and the registry, then try again", time.Duration(d))
}

// Is makes it a time-out.
func (documentsLate) Is(target error) bool { return target == context.DeadlineExceeded }

// open starts a child and opens ref in it.
func (s *Source) open(ctx context.Context, ref string) (*member, error) {
	p, err := start(ctx, s.cfg, s.target)
	if err != nil {
		return nil, err
	}
	img, err := p.OpenImage(ctx, ref)
	if err != nil {
		p.discard()
		return nil, err
	}
	return &member{proxy: p, image: img}, nil
}

// another starts a child that serves the same manifest as the first one.
func (s *Source) another(ctx context.Context) (*member, error) {
	ref := s.target.pinned
	m, err := s.open(ctx, ref)
	var e *Error
	if errors.As(err, &e) && e.Class == ClassPolicy && ref != s.target.ref {
		// Signed may be the index only, which has another digest.
		ref = s.target.ref
		m, err = s.open(ctx, ref)
	}
	if err != nil || immutable(ref) {
		return m, err
	}
	manifest, err := m.image.Manifest(ctx)
	if err == nil && manifest.Digest != s.manifest.Digest {
		err = &Error{Class: ClassIntegrity, Op: "OpenImage",
			Message: fmt.Sprintf("the image changed from %s to %s while it was being read", s.manifest.Digest, manifest.Digest)}
	}
	if err != nil {
		m.proxy.discard()
		return nil, err
	}
	return m, nil
}

// Manifest returns the platform manifest and its digest; see [Manifest] for what
// that digest is. The bytes are the caller's.
func (s *Source) Manifest(context.Context) (raw []byte, dgst digest.Digest, err error) {
	return slices.Clone(s.manifest.Raw), s.manifest.Digest, nil
}

// Config returns the configuration: the bytes whose digest the manifest has.
// Transient errors are retried. The bytes are the caller's.
func (s *Source) Config(ctx context.Context) (raw []byte, err error) {
	s.mu.Lock()
	raw = slices.Clone(s.config)
	s.mu.Unlock()
	if raw != nil {
		return raw, nil
	}
	err = s.document(ctx, func(ctx context.Context) error {
		return s.pool.use(ctx, func(img *Image) (err error) {
			raw, err = img.Config(ctx, s.manifest)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.config = raw
	s.mu.Unlock()
	return slices.Clone(raw), nil
}

// Layers returns the descriptors by which Blob serves the layers, lowest first.
// They are the manifest's, but for containers-storage, which holds the layers
// uncompressed under other digests; a size is -1 where the proxy is too old to
// tell it.
func (s *Source) Layers(ctx context.Context) ([]ocispec.Descriptor, error) {
	if !isStorage(s.target.ref) {
		return slices.Clone(s.manifest.Layers), nil
	}
	var layers []ocispec.Descriptor
	err := s.cfg.retry(ctx, func() error {
		return s.pool.use(ctx, func(img *Image) (err error) {
			if layers, err = img.Layers(ctx); !isUnknownMethod(err) {
				return err
			}
			layers, err = diffIDLayers(ctx, img, s.manifest)
			return err
		})
	})
	return layers, err
}

func diffIDLayers(ctx context.Context, img *Image, m Manifest) ([]ocispec.Descriptor, error) {
	raw, err := img.Config(ctx, m)
	if err != nil {
		return nil, err
	}
	var c struct {
		RootFS ocispec.RootFS `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, &Error{Class: ClassUnsupported, Op: "GetFullConfig", Message: fmt.Sprintf("the configuration is not one of an OCI image: %v", err), Err: err}
	}
	layers := make([]ocispec.Descriptor, len(c.RootFS.DiffIDs))
	for i, id := range c.RootFS.DiffIDs {
		layers[i] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: -1}
	}
	return layers, nil
}

// Blob streams a blob: the bytes as the source stores them, which is plain tar
// for docker-archive and containers-storage whatever a media type says. Reading
// to io.EOF means that desc.Size bytes came and no fault is known; the digest is
// the caller's to check. Any other error is an *Error, and when it is Retryable
// another Blob, from byte 0, may succeed. ctx governs the stream until it is
// closed, which it must be.
func (s *Source) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	m, err := s.pool.take(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := m.image.blob(ctx, desc)
	if err != nil {
		s.pool.give(m, false)
		return nil, err
	}
	return &sourceBlob{stream: stream, done: sync.OnceFunc(func() { s.pool.give(m, stream.wasClean()) })}, nil
}

// sourceBlob is a stream that gives its child back.
type sourceBlob struct {
	*stream
	done func()
}

func (b *sourceBlob) Close() error {
	err := b.stream.Close()
	b.done()
	return err
}

// Close ends all children and cuts their streams short.
func (s *Source) Close() error { return s.pool.close() }
