package proxyclient

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
)

func openFake(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := OpenSource(within(t, 30*time.Second), cfg, "docker://example.com/os:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSourceReadsEverything(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version, Layers: []int{0, 1, 64 << 10, 3 << 20}}
			cfg := fakeConfig(t, o)
			checkLeaks(t, cfg.TempDir)
			ctx, want := within(t, 30*time.Second), o.Image()
			s := openFake(t, cfg)

			raw, dgst, err := s.Manifest(ctx)
			if err != nil || !bytes.Equal(raw, want.Manifest) || dgst.Algorithm().FromBytes(want.Manifest) != dgst {
				t.Errorf("manifest %s %q, %v", dgst, raw, err)
			}
			for range 2 { // the second one from memory
				if raw, err := s.Config(ctx); err != nil || !bytes.Equal(raw, want.Config) {
					t.Errorf("config %q, %v, want %q", raw, err, want.Config)
				}
			}
			layers, err := s.Layers(ctx)
			if err != nil || len(layers) != len(want.Layers) {
				t.Fatalf("layers %v, %v", layers, err)
			}
			var all sync.WaitGroup
			for i, desc := range layers {
				all.Go(func() {
					got, err := readAll(s.Blob(ctx, desc))
					if err != nil || !bytes.Equal(got, want.Layers[i]) {
						t.Errorf("layer %d: %d bytes, %v; want %d bytes", i, len(got), err, len(want.Layers[i]))
					}
				})
			}
			all.Wait()
		})
	}
}

func TestSourceChildren(t *testing.T) {
	tests := []struct {
		name, version string
		concurrent    bool
		processes     int
	}{
		{"one child for many streams at once", "0.2.8", true, 1},
		{"a child per stream with an old protocol", "0.2.6", true, 3},
		{"an idle child is used again", "0.2.3", false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := proxytest.Options{Version: tt.version, Layers: []int{1 << 20, 1 << 20, 1 << 20}, Log: filepath.Join(t.TempDir(), "log")}
			cfg := fakeConfig(t, o)
			checkLeaks(t, cfg.TempDir)
			ctx := within(t, 30*time.Second)
			s := openFake(t, cfg)
			layers, err := s.Layers(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var open []io.ReadCloser
			for _, desc := range layers {
				r, err := s.Blob(ctx, desc)
				if err != nil {
					t.Fatal(err)
				}
				if tt.concurrent {
					open = append(open, r)
				} else if _, err := readAll(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range open {
				if _, err := readAll(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			if _, processes := methods(events(t, o.Log)); processes != tt.processes {
				t.Errorf("%d processes, want %d", processes, tt.processes)
			}
		})
	}
}

func TestSourceReplacesChild(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			o := proxytest.Options{Version: version, Layers: []int{1 << 20}, Log: filepath.Join(t.TempDir(), "log")}
			cfg := fakeConfig(t, o)
			checkLeaks(t, cfg.TempDir)
			ctx := within(t, 30*time.Second)
			s := openFake(t, cfg)
			desc := o.Image().Parsed.Layers[0]
			r, err := s.Blob(ctx, desc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			r.Close()
			if _, err := readAll(s.Blob(ctx, desc)); err != nil {
				t.Errorf("after an abort: %v", err)
			}
			if _, processes := methods(events(t, o.Log)); processes != 2 {
				t.Errorf("%d processes, want 2: an abort leaves the stream in the first one", processes)
			}
		})
	}
}

func TestSourcePinsDigest(t *testing.T) {
	o := proxytest.Options{Version: "0.2.6", Layers: []int{1 << 20, 1 << 20}, Log: filepath.Join(t.TempDir(), "log")}
	d := o.Image().Parsed.Config.Digest // any digest
	manifest := "docker://example.com:5000/a/os@" + digestOf(o.Image().Manifest)
	tests := []struct{ name, ref, first, later string }{
		{"tag", "docker://example.com:5000/a/os:1", "docker://example.com:5000/a/os:1", manifest},
		{"no tag", "docker://example.com:5000/a/os", "docker://example.com:5000/a/os", manifest},
		{"digest", "docker://example.com/os@" + d.String(), "docker://example.com/os@" + d.String(), "docker://example.com/os@" + d.String()},
		{"tag and digest", "docker://example.com/os:1@" + d.String(), "docker://example.com/os@" + d.String(), "docker://example.com/os@" + d.String()},
		{"other transport", "dir:x", "dir:x", "dir:x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := o
			o.Log = filepath.Join(t.TempDir(), "log")
			s, err := OpenSource(within(t, 30*time.Second), fakeConfig(t, o), tt.ref)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, desc := range o.Image().Parsed.Layers {
				r, err := s.Blob(t.Context(), desc)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
			}
			var refs []string
			for _, e := range events(t, o.Log) {
				if e.Method == "OpenImage" {
					refs = append(refs, e.Args[0].(string))
				}
			}
			if want := []string{tt.first, tt.later}; !slices.Equal(refs, want) {
				t.Errorf("opened %q, want %q", refs, want)
			}
		})
	}
}

func TestSourceRetries(t *testing.T) {
	at := func(method string) proxytest.Fault {
		return proxytest.Fault{Kind: proxytest.Error, Method: method, Message: "connection reset by peer"}
	}
	tests := []struct {
		name    string
		fault   proxytest.Fault
		once    bool
		retries int
		want    Class // "": success
		opened  int
	}{
		{"transient error while opening", at("OpenImage"), true, 1, "", 2},
		{"transient error of the manifest", at("FinishPipe"), true, 1, "", 2},
		{"transient error that stays", at("OpenImage"), false, 2, ClassNetwork, 3},
		{"killed while opening", proxytest.Fault{Kind: proxytest.Kill, Method: "OpenImage"}, true, 1, "", 2},
		{"integrity error is tried once more", proxytest.Fault{Kind: proxytest.Error, Method: "GetManifest", Message: "corrupted blob"}, false, 5, ClassIntegrity, 2},
		{"permanent error", proxytest.Fault{Kind: proxytest.Error, Method: "OpenImage", Message: "unauthorized"}, false, 5, ClassUnauthorized, 1},
		{"retryable by code", proxytest.Fault{Kind: proxytest.Error, Method: "OpenImage", Message: "new words", Code: "retryable"}, true, 1, "", 2},
		{"no retries", at("OpenImage"), false, -1, ClassNetwork, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := proxytest.Options{Faults: []proxytest.Fault{tt.fault}, Log: filepath.Join(t.TempDir(), "log")}
			if tt.once {
				o.Once = filepath.Join(t.TempDir(), "once")
			}
			cfg := fakeConfig(t, o)
			cfg.Retries = tt.retries
			checkLeaks(t, cfg.TempDir)
			s, err := OpenSource(within(t, 30*time.Second), cfg, "docker://example.com/os")
			if tt.want != "" {
				wantClass(t, err, tt.want)
			} else if err != nil {
				t.Fatal(err)
			} else {
				defer s.Close()
			}
			opened := 0
			for _, e := range events(t, o.Log) {
				if e.Method == "OpenImage" {
					opened++
				}
			}
			if opened != tt.opened {
				t.Errorf("opened %d times, want %d", opened, tt.opened)
			}
		})
	}
}

func TestSourceRetriesConfig(t *testing.T) {
	o := proxytest.Options{Once: filepath.Join(t.TempDir(), "once"), Faults: []proxytest.Fault{{Kind: proxytest.Cut, Method: "GetFullConfig"}}}
	cfg := fakeConfig(t, o)
	cfg.Retries = 1
	checkLeaks(t, cfg.TempDir)
	if raw, err := openFake(t, cfg).Config(within(t, 30*time.Second)); err != nil || !bytes.Equal(raw, o.Image().Config) {
		t.Errorf("config %q, %v", raw, err)
	}
}

func TestSourceRetryIsInterruptible(t *testing.T) {
	cfg := fakeConfig(t, proxytest.Options{Faults: []proxytest.Fault{{Kind: proxytest.Error, Method: "OpenImage", Message: "i/o timeout"}}})
	cfg.Retries, cfg.Timeouts.Backoff = 1, time.Hour
	checkLeaks(t, cfg.TempDir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := OpenSource(ctx, cfg, "docker://example.com/os")
	wantClass(t, err, ClassTimeout)
}

func TestSourcePolicyOfIndexOnly(t *testing.T) {
	// Only the tag, whose index is signed, passes the policy.
	o := proxytest.Options{Version: "0.2.6", Layers: []int{10, 10}, Log: filepath.Join(t.TempDir(), "log"), RejectDigests: true}
	s := openFake(t, fakeConfig(t, o))
	var open []io.ReadCloser
	for _, desc := range o.Image().Parsed.Layers {
		r, err := s.Blob(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	for i, r := range open {
		if got, err := readAll(r, nil); err != nil || !bytes.Equal(got, o.Image().Layers[i]) {
			t.Errorf("layer %d: %v", i, err)
		}
	}
}

func TestSourceNoticesMovedTag(t *testing.T) {
	o := proxytest.Options{Version: "0.2.6", Layers: []int{1, 2}, Moved: filepath.Join(t.TempDir(), "moved")}
	s, err := OpenSource(within(t, 30*time.Second), fakeConfig(t, o), "dir:x")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Blob(t.Context(), o.Image().Parsed.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = s.Blob(t.Context(), o.Image().Parsed.Layers[1])
	wantClass(t, err, ClassIntegrity)
}

func TestSourceClosed(t *testing.T) {
	o := proxytest.Options{Layers: []int{1 << 20}}
	cfg := fakeConfig(t, o)
	checkLeaks(t, cfg.TempDir)
	s := openFake(t, cfg)
	r, err := s.Blob(t.Context(), o.Image().Parsed.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, err = io.Copy(io.Discard, r)
	wantClass(t, err, ClassCanceled)
	r.Close()
	_, err = s.Blob(t.Context(), o.Image().Parsed.Layers[0])
	wantClass(t, err, ClassCanceled)
}
