package proxyclient

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
)

func startFake(t *testing.T, o proxytest.Options) *Proxy {
	t.Helper()
	cfg := fakeConfig(t, o)
	checkLeaks(t, cfg.TempDir)
	p, err := Start(within(t, 20*time.Second), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func openFakeImage(t *testing.T, p *Proxy) *Image {
	t.Helper()
	img, err := p.OpenImage(within(t, 20*time.Second), "docker://example.com/os")
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestProxyWholeProtocol(t *testing.T) {
	for _, version := range []string{"0.2.3", "0.2.5", "0.2.6", "0.2.7", "0.2.8", "0.2.99"} {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version, Layers: []int{100, 200 << 10}, Log: filepath.Join(t.TempDir(), "log")}
			ctx, want := within(t, 20*time.Second), o.Image()
			p := startFake(t, o)
			if got := p.Version().String(); got != version {
				t.Errorf("version is %s", got)
			}
			img := openFakeImage(t, p)
			m, err := img.Manifest(ctx)
			if err != nil || !bytes.Equal(m.Raw, want.Manifest) || len(m.Layers) != 2 {
				t.Fatalf("manifest %+v, %v", m, err)
			}
			c, err := img.Config(ctx, m)
			if err != nil || !bytes.Equal(c, want.Config) {
				t.Errorf("config %s, %v", c, err)
			}
			if c, err := img.ImageConfig(ctx); err != nil || !slices.Equal(c.Cmd, []string{"/usr/bin/sh"}) || c.Labels["version"] != "1" {
				t.Errorf("how it is run: %+v, %v", c, err)
			}
			for i, desc := range m.Layers {
				if data, err := readAll(img.Blob(ctx, desc)); err != nil || !bytes.Equal(data, want.Layers[i]) {
					t.Errorf("layer %d: %d bytes, %v", i, len(data), err)
				}
				desc.Size = -1
				if data, err := readAll(img.Blob(ctx, desc)); err != nil || !bytes.Equal(data, want.Layers[i]) {
					t.Errorf("layer %d of unknown size: %d bytes, %v", i, len(data), err)
				}
			}
			layers, err := img.Layers(ctx)
			if version == "0.2.3" {
				wantClass(t, err, ClassUnsupported)
			} else if err != nil || len(layers) != 2 || layers[1].Digest != m.Layers[1].Digest || layers[1].Size != 200<<10 || layers[1].MediaType != ocispec.MediaTypeImageLayer {
				t.Errorf("layers %+v, %v", layers, err)
			}
			if err := img.Close(ctx); err != nil {
				t.Error(err)
			}
			openFakeImage(t, p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			requests, _ := methods(events(t, o.Log))
			if end := requests[len(requests)-3:]; !slices.Equal(end, []string{"OpenImage", "CloseImage", "Shutdown"}) {
				t.Errorf("the end was %q", end)
			}
			if usesRaw := slices.Contains(requests, "GetRawBlob"); usesRaw != p.Version().hasRawBlob() {
				t.Errorf("GetRawBlob was used: %v", usesRaw)
			}
		})
	}
}

func TestUnknownMethodFallsBack(t *testing.T) {
	o := proxytest.Options{Layers: []int{100}, Unknown: []string{"GetRawBlob", "GetLayerInfoPiped", "OpenImageOptional"}}
	p := startFake(t, o)
	ctx := within(t, 20*time.Second)
	img, err := p.OpenImageOptional(ctx, "docker://example.com/os")
	if err != nil || img == nil {
		t.Fatalf("image %v, %v", img, err)
	}
	layers, err := img.Layers(ctx)
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers %v, %v", layers, err)
	}
	if data, err := readAll(img.Blob(ctx, layers[0])); err != nil || !bytes.Equal(data, o.Image().Layers[0]) {
		t.Errorf("blob: %d bytes, %v", len(data), err)
	}
}

func TestOpenImageOptional(t *testing.T) {
	fail := func(method, text string) []proxytest.Fault {
		return []proxytest.Fault{{Kind: proxytest.Error, Method: method, Message: text}}
	}
	tests := []struct {
		name string
		o    proxytest.Options
		want Class // "": no error
		none bool
	}{
		{"there", proxytest.Options{}, "", false},
		{"there, old", proxytest.Options{Version: "0.2.3"}, "", false},
		{"id 0", proxytest.Options{NoImage: true}, "", true},
		{"missing by text", proxytest.Options{Faults: fail("OpenImageOptional", "fetching manifest 1 in x: StatusCode: 404, <html>")}, "", true},
		{"missing by text, old", proxytest.Options{Version: "0.2.3", Faults: fail("OpenImage", "manifest unknown")}, "", true},
		{"another error", proxytest.Options{Faults: fail("OpenImageOptional", "unauthorized")}, ClassUnauthorized, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, err := startFake(t, tt.o).OpenImageOptional(within(t, 20*time.Second), "docker://example.com/os")
			if tt.want != "" {
				wantClass(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
			if (img == nil) != tt.none {
				t.Errorf("image is %v", img)
			}
		})
	}
}

func TestStartRefusesVersion(t *testing.T) {
	for _, version := range []string{"0.1.0", "0.2.2", "0.3.0", "1.2.8", "0.2", "0.2.x", "", "0.2.99999999999"} {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version}
			if version == "" {
				o.Version = " "
			}
			cfg := fakeConfig(t, o)
			checkLeaks(t, cfg.TempDir)
			_, err := Start(within(t, 20*time.Second), cfg)
			wantClass(t, err, ClassUnsupported)
		})
	}
}

func TestManifestOfOCILayoutIsChecked(t *testing.T) {
	o := proxytest.Options{Faults: []proxytest.Fault{{Kind: proxytest.Flip, Method: "GetManifest"}}}
	img, err := startFake(t, o).OpenImage(t.Context(), "oci:/x:y")
	if err != nil {
		t.Fatal(err)
	}
	_, err = img.Manifest(t.Context())
	wantClass(t, err, ClassIntegrity)
}

func TestRequestThatIsTooLong(t *testing.T) {
	p := startFake(t, proxytest.Options{})
	_, err := p.OpenImage(t.Context(), "docker://"+strings.Repeat("x", maxRequest))
	wantClass(t, err, ClassConfig)
	openFakeImage(t, p) // the connection is still good
}

// TestAbandonedCall: a call whose caller is gone is answered in the background,
// and harms nobody else.
func TestAbandonedCall(t *testing.T) {
	for _, version := range []string{"0.2.3", "0.2.8"} {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version, Layers: []int{300 << 10}, Log: filepath.Join(t.TempDir(), "log"), Delay: 200 * time.Millisecond, DelayMethod: "GetBlob"}
			method := "GetBlob"
			if version == "0.2.8" {
				method, o.DelayMethod = "GetRawBlob", "GetRawBlob"
			}
			p := startFake(t, o)
			img := openFakeImage(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				awaitRequest(t.Context(), t, o.Log, method)
				cancel()
			}()
			_, err := img.Blob(ctx, o.Image().Parsed.Layers[0])
			wantClass(t, err, ClassCanceled)
			if data, err := readAll(img.Blob(within(t, 20*time.Second), o.Image().Parsed.Layers[0])); err != nil || len(data) != 300<<10 {
				t.Errorf("the next call: %d bytes, %v", len(data), err)
			}
		})
	}
}

func TestStreamIsCutByItsContext(t *testing.T) {
	for _, version := range []string{"0.2.3", "0.2.8"} {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version, Layers: []int{8 << 20}}
			p := startFake(t, o)
			img := openFakeImage(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			r, err := img.Blob(ctx, o.Image().Parsed.Layers[0])
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cancel()
			_, err = io.Copy(io.Discard, r)
			wantClass(t, err, ClassCanceled)
			if _, err := img.Manifest(within(t, 20*time.Second)); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

func TestCloseWakesReader(t *testing.T) {
	o := proxytest.Options{Layers: []int{64 << 10}, Faults: []proxytest.Fault{{Kind: proxytest.Stall, Method: "GetRawBlob"}}}
	img := openFakeImage(t, startFake(t, o))
	r, err := img.Blob(t.Context(), o.Image().Parsed.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 32<<10)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		done <- err
	}()
	r.Close()
	wantClass(t, <-done, ClassCanceled)
}

func TestProxyClosed(t *testing.T) {
	o := proxytest.Options{Layers: []int{1 << 20}}
	p := startFake(t, o)
	img := openFakeImage(t, p)
	// Nobody closes this one, nor ends its context: the proxy does.
	if _, err := img.Blob(context.WithoutCancel(t.Context()), o.Image().Parsed.Layers[0]); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := img.Manifest(t.Context())
	wantClass(t, err, ClassCanceled)
	_, err = img.Blob(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x")})
	wantClass(t, err, ClassCanceled)
}

func TestDeathWhileIdle(t *testing.T) {
	p := startFake(t, proxytest.Options{})
	p.child.kill()
	<-p.dead
	_, err := p.OpenImage(t.Context(), "docker://example.com/os")
	if e := wantClass(t, err, ClassChildDied); !e.Retryable() || e.Op != "OpenImage" {
		t.Errorf("error %q, retryable %v", e, e.Retryable())
	}
}

// TestManyLayers: an inline reply is as large as the socket's buffer, which the
// child's default would not hold.
func TestManyLayers(t *testing.T) {
	const count = 3000
	img := openFakeImage(t, startFake(t, proxytest.Options{Version: "0.2.6", Layers: make([]int, count)}))
	if layers, err := img.Layers(within(t, 20*time.Second)); err != nil || len(layers) != count {
		t.Errorf("%d layers, %v", len(layers), err)
	}
}

// TestChildDiesWithParent kills a process that uses the proxy, while the proxy
// is inside a call and would not notice a closed socket.
func TestChildDiesWithParent(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	user := exec.Command(self)
	user.Env = append(os.Environ(), hangingUser+"="+log)
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 20*time.Second)
	awaitRequest(ctx, t, log, "OpenImage")
	proxy := events(t, log)[0].PID
	fd, err := unix.PidfdOpen(proxy, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = user.Process.Kill()
	_ = user.Wait()
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 10_000); n != 1 || err != nil {
		_ = unix.Kill(proxy, unix.SIGKILL)
		t.Errorf("the proxy lives on (%d, %v)", n, err)
	}
}
