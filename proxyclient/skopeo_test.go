package proxyclient

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// nobody is the unprivileged user of the tests.
var nobody = &command.User{UID: 65534, GID: 65534}

// testImage returns an image whose layers are tar archives of the given sizes.
func testImage(t *testing.T, sizes ...int) proxytest.Image {
	t.Helper()
	config := ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"},
		Config: ocispec.ImageConfig{Entrypoint: []string{"/init"}, Labels: map[string]string{"a": "b"}},
	}
	img := proxytest.Image{Parsed: ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}}
	for i, content := range (proxytest.Options{Layers: sizes}).Image().Layers {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr-%d-of-%d", i, sizes[i]), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		img.Layers = append(img.Layers, layer.Bytes())
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer.Bytes()))
		img.Parsed.Layers = append(img.Parsed.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer.Bytes()), Size: int64(layer.Len())})
	}
	img.Config = marshal(t, config)
	img.Parsed.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(img.Config), Size: int64(len(img.Config))}
	img.Manifest = marshal(t, img.Parsed)
	return img
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// writeLayout writes an OCI layout that anybody may read and returns its path.
func writeLayout(t *testing.T, img proxytest.Image, tag string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayoutTo(t, dir, img, tag)
	return dir
}

func writeLayoutTo(t *testing.T, dir string, img proxytest.Image, tag string) {
	t.Helper()
	put := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(ocispec.ImageLayoutFile, marshal(t, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}))
	entry := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(img.Manifest), Size: int64(len(img.Manifest)),
		Annotations: map[string]string{ocispec.AnnotationRefName: tag}}
	put(ocispec.ImageIndexFile, marshal(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{entry}}))
	for _, blob := range append([][]byte{img.Manifest, img.Config}, img.Layers...) {
		put("blobs/sha256/"+digest.FromBytes(blob).Encoded(), blob)
	}
}

func skopeoCopy(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(within(t, time.Minute), needs.Tool(t, "skopeo"), append([]string{"copy", "--quiet"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy %q: %v: %s (apt install skopeo)", args, err, out)
	}
}

// realConfig runs the real skopeo.
func realConfig(t *testing.T, user *command.User) Config {
	t.Helper()
	needs.Tool(t, "skopeo")
	if user != nil {
		needs.Root(t)
	}
	return Config{Anonymous: true, User: user, TempDir: reachableDir(t), Retries: -1}
}

// reachableDir is t.TempDir where every user can reach it.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "proxyclient-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkSource reads everything and compares it, all layers at once.
func checkSource(t *testing.T, s *Source, want proxytest.Image) {
	t.Helper()
	ctx := within(t, time.Minute)
	raw, dgst, err := s.Manifest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want.Manifest != nil && (!bytes.Equal(raw, want.Manifest) || dgst != digest.FromBytes(raw)) {
		t.Errorf("manifest %s\n%s\nwant\n%s", dgst, raw, want.Manifest)
	}
	config, err := s.Config(ctx)
	if err != nil || s.manifest.Manifest.Config.Digest != digest.FromBytes(config) {
		t.Errorf("config %s, %v", config, err)
	}
	layers, err := s.Layers(ctx)
	if err != nil || len(layers) != len(want.Layers) {
		t.Fatalf("layers %v, %v", layers, err)
	}
	var all sync.WaitGroup
	for i, desc := range layers {
		all.Go(func() {
			data, err := readAll(s.Blob(ctx, desc))
			if err != nil || !bytes.Equal(data, want.Layers[i]) {
				t.Errorf("layer %d: %d bytes, %v; want %d bytes", i, len(data), err, len(want.Layers[i]))
			}
		})
	}
	all.Wait()
}

func TestLocalTransports(t *testing.T) {
	img := testImage(t, 10, 3<<20, 100<<10)
	layout := writeLayout(t, img, "1")
	converted := img
	converted.Manifest = nil // made by skopeo
	tests := []struct {
		transport, rest string
		want            proxytest.Image
	}{
		{"oci", ":1", img},
		{"oci-archive", ":1", img},
		{"docker-archive", ":example.com/os:1", converted},
		{"dir", "", img},
	}
	for _, user := range []*command.User{nil, nobody} {
		for _, tt := range tests {
			name := tt.transport + " as root"
			if user != nil {
				name = tt.transport + " as nobody"
			}
			t.Run(name, func(t *testing.T) {
				// Nobody can't enter the directory above.
				path := filepath.Join(t.TempDir(), "image")
				if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				args := []string{"oci:" + layout + ":1", tt.transport + ":" + path + tt.rest}
				if tt.transport != "docker-archive" {
					args = append(args, "--preserve-digests")
				}
				skopeoCopy(t, args...)
				cfg := realConfig(t, user)
				checkLeaks(t, cfg.TempDir)
				s, err := OpenSource(within(t, time.Minute), cfg, tt.transport+":"+path+tt.rest)
				if err != nil {
					t.Fatal(err)
				}
				checkSource(t, s, tt.want)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestImageConfig reads how an image is run, and what skopeo says of it when it is asked to.
func TestImageConfig(t *testing.T) {
	img := testImage(t, 10)
	layout := writeLayout(t, img, "1")
	for _, debug := range []bool{false, true} {
		cfg := realConfig(t, nil)
		log, hook := logtest.NewNullLogger()
		log.SetLevel(logrus.DebugLevel)
		cfg.Log, cfg.Debug = log, debug
		p, err := Start(within(t, time.Minute), cfg)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := p.OpenImage(t.Context(), "oci:"+layout+":1")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := opened.ImageConfig(t.Context()); err != nil || c.Labels["a"] != "b" || !slices.Equal(c.Entrypoint, []string{"/init"}) {
			t.Errorf("how it is run: %+v, %v", c, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		said := slices.ContainsFunc(hook.AllEntries(), func(e *logrus.Entry) bool {
			return e.Level == logrus.DebugLevel && e.Data["program"] == "skopeo" && strings.Contains(e.Message, "level=debug")
		})
		if said != debug {
			t.Errorf("the debug log was passed on: %v, want %v", said, debug)
		}
	}
}

// TestImageConfigFaults: what the proxy sends is no configuration.
func TestImageConfigFaults(t *testing.T) {
	img := openFakeImage(t, startFake(t, proxytest.Options{Faults: []proxytest.Fault{{Kind: proxytest.Short, Method: "GetConfig"}}}))
	_, err := img.ImageConfig(within(t, 20*time.Second))
	wantClass(t, err, ClassChildDied)
	img = openFakeImage(t, startFake(t, proxytest.Options{Unknown: []string{"GetConfig"}}))
	_, err = img.ImageConfig(within(t, 20*time.Second))
	wantClass(t, err, ClassUnsupported)
}

// TestConfigThatSkopeoRefuses: a configuration is data, which the proxy need not understand to
// serve it.
func TestConfigThatSkopeoRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"empty time":           {`"created": "2026-01-02T03:04:05Z"`, `"created": ""`},
		"no time":              {`"created": "2026-01-02T03:04:05Z"`, `"created": "yesterday"`},
		"time of a network":    {`"created": "2026-01-02T03:04:05Z"`, `"created": "x509: connection reset"`},
		"number as time":       {`"created": "2026-01-02T03:04:05Z"`, `"created": 5`},
		"time in the history":  {`"created": "2026-01-02T03:04:05Z"`, `"history": [{"created": ""}]`},
		"labels that are none": {`"created": "2026-01-02T03:04:05Z"`, `"config": {"Labels": 1}`},
		"label that is none":   {`"created": "2026-01-02T03:04:05Z"`, `"config": {"Labels": {"a": []}}`},
		"repeated key":         {`"created": "2026-01-02T03:04:05Z"`, `"os": "a", "os": "b"`},
		"lone surrogate":       {`"created": "2026-01-02T03:04:05Z"`, `"author": "\ud800"`},
		"large number":         {`"created": "2026-01-02T03:04:05Z"`, `"author": 1e400`},
		"larger than 4 MiB":    {`"created": "2026-01-02T03:04:05Z"`, `"author": "` + strings.Repeat("x", 5<<20) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			img := testImage(t, 10)
			img.Config = bytes.Replace(img.Config, []byte("{"), []byte(`{"created": "2026-01-02T03:04:05Z",`), 1)
			img.Config = bytes.Replace(img.Config, []byte(change[0]), []byte(change[1]), 1)
			img.Parsed.Config.Digest, img.Parsed.Config.Size = digest.FromBytes(img.Config), int64(len(img.Config))
			img.Manifest = marshal(t, img.Parsed)
			cfg := realConfig(t, nobody)
			s, err := OpenSource(within(t, time.Minute), cfg, "oci:"+writeLayout(t, img, "1")+":1")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if raw, err := s.Config(t.Context()); err != nil || !bytes.Equal(raw, img.Config) {
				t.Errorf("%d bytes, %v; want %d", len(raw), err, len(img.Config))
			}
		})
	}
}

// TestUnprivilegedChild looks at the process itself.
func TestUnprivilegedChild(t *testing.T) {
	cfg := realConfig(t, nobody)
	cfg.Anonymous, cfg.AuthData = false, []byte(`{"auths":{}}`)
	checkLeaks(t, cfg.TempDir)
	p, err := Start(within(t, time.Minute), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.child.process.PID()))
	if err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.child.process.PID()))
	if err != nil {
		t.Fatal(err)
	}
	bounds, err := childLimits()
	if err != nil || bounds.Files == 0 {
		t.Fatal(bounds, err)
	}
	for name, want := range map[string]string{"Max core file size": "0", "Max open files": fmt.Sprint(bounds.Files), "Max processes": "4096"} {
		_, rest, _ := strings.Cut(string(limits), name)
		if values := strings.Fields(rest); len(values) < 2 || values[0] != want || values[1] != want {
			t.Errorf("%s: want %s in\n%s", name, want, limits)
		}
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "Groups:\t \n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
}

func TestBrokenLayouts(t *testing.T) {
	short := "corrupted blob"
	if hasRawBlobs(t) {
		short = "sent 1000 bytes"
	}
	tests := []struct {
		name      string
		ref       string // with DIR
		damage    func(t *testing.T, layer string)
		class     Class
		retryable bool
		message   string
	}{
		{"missing directory", "oci:DIR/x:1", nil, ClassNotFound, false, "DIR/x"},
		{"missing tag", "oci:DIR:2", nil, ClassNotFound, false, "no descriptor found"},
		{"unknown transport", "ocean:DIR:1", nil, ClassReference, false, "ocean"},
		{"missing layer", "oci:DIR:1", func(t *testing.T, layer string) {
			if err := os.Remove(layer); err != nil {
				t.Fatal(err)
			}
		}, ClassNotFound, false, "no such file"},
		{"short layer", "oci:DIR:1", func(t *testing.T, layer string) {
			if err := os.Truncate(layer, 1000); err != nil {
				t.Fatal(err)
			}
		}, ClassIntegrity, true, short},
		{"changed layer", "oci:DIR:1", func(t *testing.T, layer string) {
			f, err := os.OpenFile(layer, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("!"), 5000); err != nil {
				t.Fatal(err)
			}
		}, ClassIntegrity, true, "corrupted blob"},
	}
	for _, user := range []*command.User{nil, nobody} {
		for _, tt := range tests {
			name := tt.name + ", root"
			if user != nil {
				name = tt.name + ", nobody"
			}
			t.Run(name, func(t *testing.T) {
				img := testImage(t, 100<<10)
				layout := writeLayout(t, img, "1")
				if tt.damage != nil {
					tt.damage(t, filepath.Join(layout, "blobs/sha256", img.Parsed.Layers[0].Digest.Encoded()))
				}
				cfg := realConfig(t, user)
				checkLeaks(t, cfg.TempDir)
				_, err := readImageAt(t, cfg, strings.ReplaceAll(tt.ref, "DIR", layout), img)
				e := wantClass(t, err, tt.class)
				if e.Retryable() != tt.retryable || !strings.Contains(e.Error(), strings.ReplaceAll(tt.message, "DIR", layout)) {
					t.Errorf("error %q, retryable %v; want %q", e, e.Retryable(), tt.message)
				}
			})
		}
	}
}

func readImageAt(t *testing.T, cfg Config, ref string, img proxytest.Image) ([]byte, error) {
	t.Helper()
	ctx := within(t, time.Minute)
	s, err := OpenSource(ctx, cfg, ref)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Config(ctx); err != nil {
		return nil, err
	}
	return readVerified(s, hasRawBlobs(t), img.Parsed.Layers[0])
}

func TestContainersStorage(t *testing.T) {
	img := testImage(t, 10, 300<<10)
	layout := writeLayout(t, img, "1")
	root, run := t.TempDir(), t.TempDir()
	ref := "containers-storage:[vfs@" + root + "+" + run + "]localhost/os:1"
	skopeoCopy(t, "oci:"+layout+":1", ref)
	cfg := realConfig(t, nobody) // not obeyed here
	checkLeaks(t, cfg.TempDir)
	s, err := OpenSource(within(t, time.Minute), cfg, ref)
	if err != nil {
		t.Fatal(err)
	}
	checkSource(t, s, img)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, err = OpenSource(within(t, time.Minute), cfg, strings.Replace(ref, "os:1", "none:1", 1))
	wantClass(t, err, ClassNotFound)
}
