package importer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// A layer is written as lines:
//
//	d PATH [MODE [UID]]    directory
//	f PATH [CONTENT]       regular file; a | in the content is a line feed
//	l PATH TARGET          symbolic link
//	c PATH                 character device

// archive makes the tar of a layer.
func archive(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		fields := strings.Fields(line)
		h := &tar.Header{Name: fields[1], Mode: 0o644, Format: tar.FormatPAX}
		content := ""
		switch fields[0] {
		case "d":
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", 0o755
			if len(fields) > 2 {
				h.Mode, _ = strconv.ParseInt(fields[2], 8, 64)
			}
			if len(fields) > 3 {
				h.Uid, _ = strconv.Atoi(fields[3])
			}
		case "f":
			content = strings.ReplaceAll(strings.Join(fields[2:], " "), "|", "\n")
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		case "l":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, fields[2], 0o777
		case "c":
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		default:
			t.Fatalf("line of kind %q", fields[0])
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// testImage is an image in memory. seal makes the documents' digests fit after a change.
type testImage struct {
	manifest ocispec.Manifest
	config   map[string]any
	blobs    map[digest.Digest][]byte

	rawManifest, rawConfig []byte
	digest                 digest.Digest
}

// newImage makes an image of gzip layers, lowest first.
func newImage(t testing.TB, layers ...[]string) *testImage {
	t.Helper()
	return imageOf(t, archivesOf(t, layers)...)
}

// archivesOf makes an archive of each layer. A layer that is like the one before it shares its
// archive, since making hundreds of the same takes minutes under the race detector.
func archivesOf(t testing.TB, layers [][]string) [][]byte {
	t.Helper()
	archives := make([][]byte, len(layers))
	for i, lines := range layers {
		if i > 0 && slices.Equal(lines, layers[i-1]) {
			archives[i] = archives[i-1]
		} else {
			archives[i] = archive(t, lines...)
		}
	}
	return archives
}

// imageOf makes an image of layers that are archives.
func imageOf(t testing.TB, archives ...[]byte) *testImage {
	t.Helper()
	image := &testImage{
		manifest: ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest},
		blobs:    map[digest.Digest][]byte{},
	}
	diffIDs := []any{}
	var blob []byte
	for i, raw := range archives {
		diffIDs = append(diffIDs, digest.FromBytes(raw).String())
		if i == 0 || !bytes.Equal(raw, archives[i-1]) {
			blob = compress(t, raw)
		}
		image.addLayer(blob)
	}
	image.config = map[string]any{
		"created": "2026-01-02T03:04:05.678Z", "architecture": "amd64", "os": "linux",
		"config": map[string]any{"Labels": map[string]any{ocispec.AnnotationVersion: "1.2"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}
	image.seal(t)
	return image
}

func (i *testImage) addLayer(blob []byte) {
	d := digest.FromBytes(blob)
	i.blobs[d] = blob
	i.manifest.Layers = append(i.manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(len(blob))})
}

func (i *testImage) seal(t testing.TB) *testImage {
	t.Helper()
	var err error
	if i.rawConfig, err = json.Marshal(i.config); err != nil {
		t.Fatal(err)
	}
	i.manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(i.rawConfig), Size: int64(len(i.rawConfig))}
	if i.rawManifest, err = json.MarshalIndent(i.manifest, "", "   "); err != nil {
		t.Fatal(err)
	}
	i.digest = digest.FromBytes(i.rawManifest)
	return i
}

// testRegistry serves images by name, and fails as it is told.
type testRegistry struct {
	mu     sync.Mutex
	images map[string]*testImage // by reference.Image.String()
	opened []string
	open   int // sources that are not closed
	blobs  []digest.Digest

	// fault, when set, may replace a blob's stream; nth counts the requests for this digest from 1.
	fault func(ctx context.Context, d digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error)
}

func newRegistry(name string, image *testImage) *testRegistry {
	return &testRegistry{images: map[string]*testImage{name: image}}
}

func (r *testRegistry) Open(_ context.Context, image reference.Image, _ Access) (Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := image.String()
	r.opened = append(r.opened, name)
	found := r.images[name]
	for _, i := range r.images {
		if d := image.Digest(); found == nil && d != "" && d == i.digest {
			found = i
		}
	}
	if found == nil {
		return nil, &Error{Kind: KindReferenceNotFound, Err: errors.New("manifest unknown")}
	}
	r.open++
	return &testSource{registry: r, image: found}, nil
}

// requested gives the number of blobs that were asked for since the last call.
func (r *testRegistry) requested() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.blobs)
	r.blobs = nil
	return n
}

type testSource struct {
	registry *testRegistry
	image    *testImage
	closed   bool
}

func (s *testSource) Manifest(ctx context.Context) ([]byte, digest.Digest, error) {
	return s.image.rawManifest, s.image.digest, ctx.Err()
}

func (s *testSource) Config(ctx context.Context) ([]byte, error) { return s.image.rawConfig, ctx.Err() }

func (s *testSource) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	r := s.registry
	r.mu.Lock()
	r.blobs = append(r.blobs, desc.Digest)
	nth := 0
	for _, d := range r.blobs {
		if d == desc.Digest {
			nth++
		}
	}
	r.mu.Unlock()
	content, ok := s.image.blobs[desc.Digest]
	if !ok {
		return nil, &Error{Kind: KindReferenceNotFound, Err: errors.New("blob unknown")}
	}
	blob := io.NopCloser(bytes.NewReader(content))
	if r.fault != nil {
		return r.fault(ctx, desc.Digest, nth, blob)
	}
	return blob, nil
}

func (s *testSource) Close() error {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.registry.open--
	}
	return nil
}
