package daemon

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// image is an image in memory, and an importer.Source of itself.
type image struct {
	manifest []byte
	config   []byte
	blobs    map[digest.Digest][]byte
	calls    *registry
	name     string
}

// registry serves images by name. A point of an image's delivery ("open NAME", "blob NAME", "blob
// DIGEST") can be made to wait, to fail or to panic.
type registry struct {
	mu     sync.Mutex
	images map[string]*image
	gates  map[string]*gate
	faults map[string]error
	panics map[string]bool
	count  map[string]int
}

func newRegistry() *registry {
	return &registry{
		images: map[string]*image{},
		gates:  map[string]*gate{},
		faults: map[string]error{},
		panics: map[string]bool{},
		count:  map[string]int{},
	}
}

// add stores an image with one layer per file content. A name that was in use stands for the new
// image from then on, and the old one can still be had by its digest.
func (r *registry) add(t *testing.T, name string, contents ...string) digest.Digest {
	t.Helper()
	img := &image{blobs: map[digest.Digest][]byte{}, calls: r, name: name}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, content := range contents {
		layer := contentLayer(t, content)
		dgst := digest.FromBytes(layer)
		img.blobs[dgst] = layer
		manifest.Layers = append(manifest.Layers,
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: dgst, Size: int64(len(layer))})
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, dgst)
	}
	img.config = marshal(t, config)
	manifest.Config = ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig,
		Digest:    digest.FromBytes(img.config),
		Size:      int64(len(img.config)),
	}
	img.manifest = marshal(t, manifest)
	r.mu.Lock()
	defer r.mu.Unlock()
	dgst := digest.FromBytes(img.manifest)
	repository, _, _ := strings.Cut(name, ":")
	r.images[name], r.images[repository+"@"+dgst.String()] = img, img
	return dgst
}

// contentLayer is the layer of an image that has a content.
func contentLayer(t *testing.T, content string) []byte {
	t.Helper()
	return layerTar(t, "usr/share/"+digest.FromString(content).Encoded()[:8], content)
}

func layerTar(t *testing.T, name, content string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// gate is a point that waits.
type gate struct {
	reached chan struct{} // closed when somebody waits
	reach   func()
	opened  chan struct{}
	release func() // may be called more than once
}

// block makes a point wait until it is released.
func (r *registry) block(t *testing.T, point string) *gate {
	t.Helper()
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	g.reach = sync.OnceFunc(func() { close(g.reached) })
	g.release = sync.OnceFunc(func() { close(g.opened) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gates[point] = g
	return g
}

func (r *registry) fail(point string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[point] = err
}

func (r *registry) counted(point string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[point]
}

func (r *registry) pass(ctx context.Context, point string) error {
	r.mu.Lock()
	r.count[point]++
	g, fault, panics := r.gates[point], r.faults[point], r.panics[point]
	r.mu.Unlock()
	if panics {
		panic("broken at " + point)
	}
	if g != nil {
		g.reach()
		select {
		case <-g.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fault
}

func (r *registry) open(ctx context.Context, ref reference.Image, _ importer.Access) (importer.Source, error) {
	if err := r.pass(ctx, "open "+ref.Name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	img, ok := r.images[ref.Name]
	if !ok {
		return nil, &importer.Error{Kind: importer.KindReferenceNotFound, Err: errors.New("no such image")}
	}
	return img, nil
}

func (img *image) Manifest(context.Context) ([]byte, digest.Digest, error) {
	return img.manifest, digest.FromBytes(img.manifest), nil
}

func (img *image) Config(context.Context) ([]byte, error) { return img.config, nil }

func (img *image) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	for _, point := range []string{"blob " + img.name, "blob " + desc.Digest.String()} {
		if err := img.calls.pass(ctx, point); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(bytes.NewReader(img.blobs[desc.Digest])), nil
}

func (img *image) Close() error { return nil }

// fixture is a Manager on a real repository and images in memory.
type fixture struct {
	*Manager
	registry *registry
	repo     *ostreerepo.Repo
	config   Config
	log      *logtest.Hook
}

func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	return newFixtureWith(t, ostreerepo.Options{}, change...)
}

func newFixtureWith(t *testing.T, opts ostreerepo.Options, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{registry: newRegistry()}
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, opts)
	if err != nil {
		t.Fatal(err)
	}
	f.repo = repo
	var logger *logrus.Logger
	logger, f.log = logtest.NewNullLogger()
	im := importer.New(importer.Config{Repo: repo, Open: f.registry.open, Log: logger})
	f.config = Config{
		Importer: func() (*importer.Importer, error) { return im, nil },
		StateDir: t.TempDir(),
		Log:      logger,
		Imports:  1, // so that one that is held up holds up others
	}
	for _, set := range change {
		set(&f.config)
	}
	f.start(t)
	return f
}

// start makes the Manager; a second call takes the place of a restart of the daemon.
func (f *fixture) start(t *testing.T) {
	t.Helper()
	m, err := New(f.config)
	if err != nil {
		t.Fatal(err)
	}
	f.Manager = m
	t.Cleanup(func() { f.shutdown(t, m) })
}

func (f *fixture) shutdown(t *testing.T, m *Manager) {
	t.Helper()
	if err := m.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// request asks for the image by name.
func request(name string) importer.Request { return importer.Request{Image: "docker://" + name} }

// startImport imports without waiting.
func (f *fixture) startImport(t *testing.T, name string) *Job {
	t.Helper()
	return started(t)(f.Import(request(name), JobOptions{}, Caller{}))
}

// started starts a job that was just handed out.
func started(t *testing.T) func(*Job, error) *Job {
	return func(j *Job, err error) *Job {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		j.Start()
		return j
	}
}

// finished waits for the end of a job, which has to have the result.
func finished(t *testing.T, j *Job, want JobResult) JobStatus {
	t.Helper()
	status, err := j.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Result != want {
		t.Errorf("job %d is %q (%s), want %q", status.ID, status.Result, status.ErrorMessage, want)
	}
	return status
}

// await reads events until one is as wanted, and gives that and those before.
func await(t *testing.T, events <-chan Event, wanted func(Event) bool) (last Event, before []Event) {
	t.Helper()
	for e := range events {
		if wanted(e) {
			return e, before
		}
		before = append(before, e)
	}
	t.Fatal("the subscription ended")
	return Event{}, nil
}

func subscribe(t *testing.T, m *Manager) <-chan Event {
	t.Helper()
	events, cancel := m.Subscribe()
	t.Cleanup(cancel)
	return events
}

func wantKind(t *testing.T, err error, want importer.Kind) {
	t.Helper()
	var known *importer.Error
	if !errors.As(err, &known) || known.Kind != want {
		t.Errorf("error %v, want the kind %s", err, want)
	}
}
