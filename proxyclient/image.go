package proxyclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument bounds a manifest, a configuration and a list of layers. The proxy
// itself takes at most 4 MiB of the first two from a registry.
const maxDocument = 16 << 20

// Image is an image that a Proxy has opened. Its methods may be called
// concurrently.
type Image struct {
	proxy *Proxy
	id    uint64
	ref   string
}

// Manifest is the manifest of the platform that the proxy chose.
type Manifest struct {
	// Raw is an OCI image manifest. The proxy converts other formats to it.
	Raw []byte
	// Digest is that of the platform manifest as the source stores it, never that
	// of an index. Raw hashes to it unless the proxy has converted a Docker schema
	// 2 manifest.
	Digest digest.Digest
	ocispec.Manifest
}

// OpenImage opens an image by a reference as `skopeo copy` takes it.
func (p *Proxy) OpenImage(ctx context.Context, ref string) (*Image, error) {
	img, err := p.open(ctx, "OpenImage", ref)
	if err == nil && img == nil {
		return nil, p.breach("OpenImage", errors.New("its image id is 0"))
	}
	return img, err
}

// OpenImageOptional is OpenImage which returns nil, and no error, for an image
// that does not exist. What the proxy knows to be missing depends on its version
// and the transport, so texts of errors count too.
func (p *Proxy) OpenImageOptional(ctx context.Context, ref string) (*Image, error) {
	img, err := p.openOptional(ctx, ref)
	var e *Error
	if errors.As(err, &e) && e.Class == ClassNotFound {
		return nil, nil
	}
	return img, err
}

func (p *Proxy) openOptional(ctx context.Context, ref string) (*Image, error) {
	if p.version.hasOpenOptional() {
		img, err := p.open(ctx, "OpenImageOptional", ref)
		if !isUnknownMethod(err) {
			return img, err
		}
	}
	return p.OpenImage(ctx, ref)
}

// open returns nil for the image id 0.
func (p *Proxy) open(ctx context.Context, op, ref string) (*Image, error) {
	r, err := p.call(ctx, p.cfg.Timeouts.Open, op, ref)
	var e *Error
	if l := p.layoutOf(ref); l != nil && errors.As(err, &e) {
		return nil, l.explain(e)
	}
	if err != nil {
		return nil, err
	}
	id, err := r.uint()
	if err != nil {
		return nil, p.breach(op, err)
	}
	if id == 0 {
		return nil, nil
	}
	return &Image{proxy: p, id: id, ref: ref}, nil
}

func isUnknownMethod(err error) bool {
	var e *Error
	return errors.As(err, &e) && strings.Contains(e.Message, "unknown method")
}

// Close closes the image. Streams that are under way go on.
func (i *Image) Close(ctx context.Context) error {
	_, err := i.proxy.call(ctx, i.proxy.cfg.Timeouts.Control, "CloseImage", i.id)
	if err == nil {
		i.proxy.mu.Lock()
		delete(i.proxy.images, i.id)
		i.proxy.mu.Unlock()
	}
	return err
}

// Manifest reads the manifest. For the transports oci and oci-archive it checks
// that the layout's index leads to the digest, and that the bytes have it or are
// the proxy's conversion of a Docker manifest that has it. For other transports
// the proxy's word counts. It does not check the digest against anything that
// the caller expects.
func (i *Image) Manifest(ctx context.Context) (Manifest, error) {
	const op = "GetManifest"
	r, raw, err := i.document(ctx, op)
	if err != nil {
		return Manifest{}, err
	}
	text, err := r.text()
	if err != nil {
		return Manifest{}, i.proxy.breach(op, err)
	}
	m := Manifest{Raw: raw, Digest: digest.Digest(text)}
	if err := m.Digest.Validate(); err != nil {
		return Manifest{}, i.proxy.breach(op, fmt.Errorf("its digest %q: %w", printable(text), err))
	}
	parseErr := json.Unmarshal(raw, &m.Manifest)
	if l := i.proxy.layoutOf(i.ref); l != nil {
		if err := l.check(op, m); err != nil {
			return Manifest{}, err
		}
	}
	if err := parseErr; err != nil {
		return Manifest{}, &Error{Class: ClassUnsupported, Op: op, Message: fmt.Sprintf("the manifest is not one of an OCI image: %v", err), Err: err}
	}
	return m, nil
}

// Config reads the configuration that the manifest names: the bytes with its
// digest, whatever is in them. For an OCI source they come as a blob: the proxy
// parses a configuration before it serves it, drops what it does not know, and
// refuses one that it does not understand, such as one with an empty creation
// time. After a conversion only the proxy has the bytes.
func (i *Image) Config(ctx context.Context, m Manifest) ([]byte, error) {
	const op = "GetFullConfig"
	desc := m.Manifest.Config
	if err := desc.Digest.Validate(); err != nil {
		return nil, &Error{Class: ClassUnsupported, Op: op, Message: fmt.Sprintf("the manifest names no valid configuration: %v", err), Err: err}
	}
	if desc.Size > maxDocument {
		return nil, tooLarge(op)
	}
	_, raw, err := i.document(ctx, op)
	switch {
	case err != nil && !(m.isStored() && isRefusal(err)):
		return nil, err
	case err != nil || desc.Digest.Algorithm().FromBytes(raw) != desc.Digest:
		return i.configBlob(ctx, desc)
	}
	return raw, nil
}

// ImageConfig reads the part of the configuration that says how a container of
// the image is run. The proxy parses it and writes it anew: it is what the proxy
// understands, and nothing can be checked. Config gives all, verified.
func (i *Image) ImageConfig(ctx context.Context) (ocispec.ImageConfig, error) {
	const op = "GetConfig"
	_, raw, err := i.document(ctx, op)
	if err != nil {
		return ocispec.ImageConfig{}, err
	}
	var c ocispec.ImageConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return ocispec.ImageConfig{}, i.proxy.breach(op, err)
	}
	return c, nil
}

// refusals are parts of the texts by which the proxy refuses a configuration
// that it does not understand, or that has more than 4 MiB. What else is in such
// a text comes from the configuration, so its class means nothing.
var refusals = [...]string{"parsing time", "cannot parse", "Time.UnmarshalJSON", "json: ", "invalid character", "exceeded maximum allowed size"}

// isRefusal reports whether an error may be about what is in a configuration,
// which does not hinder the proxy from serving it as a blob.
func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) &&
		(e.Class == ClassOther || slices.ContainsFunc(refusals[:], func(part string) bool { return strings.Contains(e.Message, part) }))
}

// isStored reports whether the source stores the manifest as it is: the proxy
// has not converted it.
func (m Manifest) isStored() bool { return m.Digest.Algorithm().FromBytes(m.Raw) == m.Digest }

func (i *Image) configBlob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	s, err := i.blob(ctx, desc)
	if err != nil {
		return nil, err
	}
	raw, err := readDocument(s)
	if err != nil {
		return nil, err
	}
	if desc.Digest.Algorithm().FromBytes(raw) != desc.Digest {
		return nil, &Error{Class: ClassIntegrity, Op: s.op, Message: fmt.Sprintf("the configuration does not have its digest %s", desc.Digest)}
	}
	return raw, nil
}

// Layers returns the layers as the source stores them: their digests serve for
// Blob where those of the manifest do not (containers-storage). The media types
// may be Docker's. Proxies before 0.2.5 can't tell: the error is ClassUnsupported.
func (i *Image) Layers(ctx context.Context) ([]ocispec.Descriptor, error) {
	var raw []byte
	err := error(&Error{Class: ClassUnsupported, Op: "GetLayerInfo", Message: fmt.Sprintf("unknown method of an image proxy with protocol %s", i.proxy.version)})
	if i.proxy.version.hasLayerInfoPiped() {
		_, raw, err = i.document(ctx, "GetLayerInfoPiped")
	}
	if i.proxy.version.hasLayerInfo() && isUnknownMethod(err) {
		var r reply
		r, err = i.proxy.call(ctx, i.proxy.cfg.Timeouts.Control, "GetLayerInfo", i.id)
		raw = r.Value
	}
	if err != nil {
		return nil, err
	}
	// Not the names of a descriptor: it is media_type here.
	var infos []struct {
		Digest    digest.Digest `json:"digest"`
		Size      int64         `json:"size"`
		MediaType string        `json:"media_type"`
	}
	if err := json.Unmarshal(raw, &infos); err != nil {
		return nil, i.proxy.breach("GetLayerInfo", err)
	}
	layers := make([]ocispec.Descriptor, len(infos))
	for n, info := range infos {
		layers[n] = ocispec.Descriptor{Digest: info.Digest, Size: info.Size, MediaType: info.MediaType}
	}
	return layers, nil
}

// Blob streams a blob: the bytes as the source stores them. Reading fails unless
// it gives exactly desc.Size bytes and the proxy found no fault; the digest is
// the caller's to check. A negative size is unknown; then the one that the
// source knows counts. ctx governs the stream until it is closed.
func (i *Image) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	s, err := i.blob(ctx, desc)
	if err != nil {
		return nil, err // not a nil *stream in an interface
	}
	return s, nil
}

func (i *Image) blob(ctx context.Context, desc ocispec.Descriptor) (*stream, error) {
	p, size := i.proxy, desc.Size
	if size < 0 {
		var err error
		if size, err = i.blobSize(ctx, desc.Digest); err != nil {
			return nil, err
		}
	}
	if p.rawBlobs() && size >= 0 {
		s, err := p.openRaw(ctx, size, i.id, desc.Digest.String())
		if !isUnknownMethod(err) {
			return s, err
		}
		p.mu.Lock()
		p.noRaw = true
		p.mu.Unlock()
	}
	_, s, err := p.openPipe(ctx, size, "GetBlob", i.id, desc.Digest.String(), size)
	return s, err
}

// rawBlobs tells whether several blobs can be streamed at once.
func (p *Proxy) rawBlobs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version.hasRawBlob() && !p.noRaw
}

// blobSize asks for the size of a blob, -1 if the source does not know it
// either. The stream can't be used: its verdict is about the size asked with.
func (i *Image) blobSize(ctx context.Context, d digest.Digest) (int64, error) {
	r, s, err := i.proxy.openPipe(ctx, -1, "GetBlob", i.id, d.String(), -1)
	if err != nil {
		return 0, err
	}
	s.Close()
	size, err := r.size()
	if err != nil {
		return 0, i.proxy.breach("GetBlob", err)
	}
	return size, nil
}

// document reads a small stream as a whole.
func (i *Image) document(ctx context.Context, op string) (reply, []byte, error) {
	r, s, err := i.proxy.openPipe(ctx, -1, op, i.id)
	if err != nil {
		return reply{}, nil, err
	}
	raw, err := readDocument(s)
	return r, raw, err
}

func readDocument(s *stream) ([]byte, error) {
	defer s.Close()
	raw, err := io.ReadAll(io.LimitReader(s, maxDocument+1))
	if err == nil && len(raw) > maxDocument {
		err = tooLarge(s.op)
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

func tooLarge(op string) *Error {
	return &Error{Class: ClassUnsupported, Op: op, Message: fmt.Sprintf("the document is larger than %d bytes", maxDocument)}
}
