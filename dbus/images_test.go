package dbus

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// registry serves small images from memory. The name of an image, without tag and digest, is its
// content; one whose name was blocked delivers its layer only after the release.
type registry struct {
	mu      sync.Mutex
	blocked map[string]chan struct{}
	shut    map[string]chan struct{}
	fault   map[string]error
	access  func(importer.Access) // called at each opening; nil: nothing is
}

func newRegistry() *registry {
	return &registry{blocked: make(map[string]chan struct{}), shut: make(map[string]chan struct{}), fault: make(map[string]error)}
}

// block holds back the layer of the image with this name. The release may be called more than once.
func (r *registry) block(t *testing.T, name string) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	r.mu.Lock()
	r.blocked[name] = gate
	r.mu.Unlock()
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return release
}

// shutUntilTheEnd lets the opening of the image with this name wait until the test ends. What it
// returns is closed when somebody waits.
func (r *registry) shutUntilTheEnd(t *testing.T, name string) (reached <-chan struct{}) {
	t.Helper()
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut[name] = gate
	return gate
}

// fail makes the opening of an image fail.
func (r *registry) fail(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault[name] = err
}

func (r *registry) open(ctx context.Context, image reference.Image, access importer.Access) (importer.Source, error) {
	repository, _, _ := strings.Cut(image.Name, "@")
	name, _, _ := strings.Cut(repository, ":")
	if r.access != nil {
		r.access(access)
	}
	r.mu.Lock()
	if reached := r.shut[name]; reached != nil {
		r.mu.Unlock()
		close(reached)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	defer r.mu.Unlock()
	if err := r.fault[name]; err != nil {
		return nil, err
	}
	return newMemoryImage(name, r.blocked[name])
}

// memoryImage is an importer.Source.
type memoryImage struct {
	manifest, config, layer []byte
	gate                    <-chan struct{}
}

func newMemoryImage(content string, gate <-chan struct{}) (*memoryImage, error) {
	layer, err := layerTar("usr/share/content", content)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   ocispec.ImageConfig{Labels: map[string]string{"org.opencontainers.image.version": "1.0"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    descriptor(ocispec.MediaTypeImageConfig, config),
		Layers:    []ocispec.Descriptor{descriptor(ocispec.MediaTypeImageLayer, layer)},
	})
	return &memoryImage{manifest, config, layer, gate}, err
}

func descriptor(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func layerTar(name, content string) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, content); err != nil {
		return nil, err
	}
	return archive.Bytes(), w.Close()
}

func (m *memoryImage) Manifest(context.Context) ([]byte, digest.Digest, error) {
	return m.manifest, digest.FromBytes(m.manifest), nil
}

func (m *memoryImage) Config(context.Context) ([]byte, error) { return m.config, nil }

func (m *memoryImage) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if desc.Digest != digest.FromBytes(m.layer) {
		return nil, fmt.Errorf("no blob %s", desc.Digest)
	}
	return io.NopCloser(bytes.NewReader(m.layer)), nil
}

func (m *memoryImage) Close() error { return nil }
