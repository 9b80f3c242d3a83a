package proxyclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// readImage opens an image and reads all of it, as an importer does.
func readImage(ctx context.Context, cfg Config, img proxytest.Image) ([]byte, error) {
	s, err := OpenSource(ctx, cfg, "docker://example.com/os:1")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Config(ctx); err != nil {
		return nil, err
	}
	return readAll(s.Blob(ctx, img.Parsed.Layers[0]))
}

// faultTest is a fault at each of the methods, and what the client makes of it.
type faultTest struct {
	kind      proxytest.Kind
	methods   string // separated by spaces; BLOB is the version's own
	want      Class  // "": success
	retryable bool
	message   string // part of the error
}

const (
	allCalls  = "Initialize OpenImage GetManifest GetFullConfig FinishPipe BLOB"
	pipeCalls = "GetManifest GetFullConfig"
)

var faultTests = []faultTest{
	{proxytest.Hang, "Initialize OpenImage GetManifest GetFullConfig BLOB", ClassTimeout, true, "no answer from the image proxy for 400ms"},
	{proxytest.Hang, "FinishPipe", ClassTimeout, true, "bytes for 400ms"},
	{proxytest.Die, allCalls, ClassChildDied, false, "as told"},
	{proxytest.Quit, allCalls, ClassChildDied, false, "with status 0"},
	{proxytest.Kill, allCalls, ClassChildDied, true, "killed by SIGKILL"},
	{proxytest.Error, "OpenImage GetManifest GetFullConfig FinishPipe BLOB", ClassNotFound, false, "manifest unknown"},
	{proxytest.Garbage, allCalls, ClassChildDied, false, "breaks the protocol"},
	{proxytest.Truncated, allCalls, ClassChildDied, false, "breaks the protocol"},
	{proxytest.Huge, allCalls, ClassChildDied, false, "larger than 1048576 bytes"},
	{proxytest.Mute, "OpenImage", ClassChildDied, false, "closed its socket but did not end"},
	{proxytest.WrongType, "Initialize OpenImage GetManifest", ClassChildDied, false, "its value is not"},
	{proxytest.NoFDs, pipeCalls + " BLOB", ClassChildDied, false, "it has 0 descriptors"},
	{proxytest.ExtraFDs, allCalls, ClassChildDied, false, "descriptors were expected"},
	{proxytest.NoPipeID, pipeCalls, ClassChildDied, false, "pipe id 0"},
	{proxytest.BothSides, allCalls, ClassChildDied, false, "both success and an error"},
	{proxytest.Flood, allCalls, "", false, ""},
	{proxytest.Stall, pipeCalls + " BLOB", ClassTimeout, true, "bytes for 400ms"},
	{proxytest.Cut, pipeCalls + " BLOB", ClassChildDied, true, "killed by SIGKILL"},
	{proxytest.NoEOF, "GetManifest GetFullConfig GetBlob", ClassTimeout, true, "bytes for 400ms"},
	{proxytest.Short, "GetManifest", ClassUnsupported, false, "not one of an OCI image"},
	{proxytest.Short, "GetFullConfig", "", false, ""}, // the blob is right
	{proxytest.Short, "GetBlob", ClassIntegrity, true, "corrupted blob"},
	{proxytest.Short, "GetRawBlob", ClassIntegrity, true, "bytes of the 237 that the descriptor says"},
	{proxytest.Long, "GetBlob", ClassIntegrity, true, ""}, // it is seen here or there first
	{proxytest.Long, "GetRawBlob", ClassIntegrity, true, "sent more than the 237 bytes"},
	{proxytest.Flip, "GetBlob", ClassIntegrity, true, "corrupted blob"},
	{proxytest.Bloat, pipeCalls, ClassUnsupported, false, "larger than 16777216 bytes"},
	{proxytest.RawNoise, "GetRawBlob", ClassOther, false, "unreadable error: no JSON"},
	{proxytest.RawError, "GetRawBlob", ClassNetwork, true, "unexpected EOF"},
}

// faultVersions are those whose handling of blobs differs.
var faultVersions = []string{"0.2.3", "0.2.8"}

func TestFaults(t *testing.T) {
	for _, tt := range faultTests {
		for _, version := range faultVersions {
			for _, method := range strings.Fields(tt.methods) {
				if method == "BLOB" {
					method = "GetBlob"
					if version == "0.2.8" {
						method = "GetRawBlob"
					}
				}
				if version != "0.2.8" && method == "GetRawBlob" || version == "0.2.8" && method == "GetBlob" {
					continue
				}
				t.Run(string(tt.kind)+"/"+method+"/"+version, func(t *testing.T) {
					testFault(t, tt, method, version)
				})
			}
		}
	}
}

func testFault(t *testing.T, tt faultTest, method, version string) {
	if tt.kind == proxytest.Huge {
		needs.Root(t) // only root's socket buffers hold so large a reply
	}
	fault := proxytest.Fault{Kind: tt.kind, Method: method, Message: "manifest unknown"}
	if tt.kind == proxytest.RawError {
		fault.Message, fault.Code = "unexpected EOF", "other"
	}
	o := proxytest.Options{Version: version, Layers: []int{300 << 10}, Faults: []proxytest.Fault{fault}}
	cfg := fakeConfig(t, o)
	if tt.want == ClassTimeout {
		cfg.Timeouts = limits(tt.kind, method)
	}
	checkLeaks(t, cfg.TempDir)
	img := o.Image()
	data, err := readImage(within(t, 20*time.Second), cfg, img)
	if tt.want == "" {
		if err != nil || !bytes.Equal(data, img.Layers[0]) {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		return
	}
	e := wantClass(t, err, tt.want)
	if e.Retryable() != tt.retryable {
		t.Errorf("retryable is %v: %v", e.Retryable(), e)
	}
	if !strings.Contains(e.Error(), tt.message) {
		t.Errorf("error %q does not say %q", e, tt.message)
	}
}

func TestFlippedRawBlobIsTheCallersToFind(t *testing.T) {
	o := proxytest.Options{Layers: []int{1000}, Faults: []proxytest.Fault{{Kind: proxytest.Flip, Method: "GetRawBlob"}}}
	img := o.Image()
	s := openFake(t, fakeConfig(t, o))
	data, err := readAll(s.Blob(t.Context(), img.Parsed.Layers[0]))
	if err != nil || bytes.Equal(data, img.Layers[0]) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestConfigDigestIsChecked(t *testing.T) {
	for _, tt := range []struct{ version, method string }{{"0.2.3", "GetBlob"}, {"0.2.8", "GetRawBlob"}} {
		t.Run(tt.version, func(t *testing.T) {
			o := proxytest.Options{Version: tt.version, Faults: []proxytest.Fault{{Kind: proxytest.Flip, Method: tt.method}}}
			_, err := openFake(t, fakeConfig(t, o)).Config(t.Context())
			wantClass(t, err, ClassIntegrity)
		})
	}
}

func TestStderrOfError(t *testing.T) {
	o := proxytest.Options{Faults: []proxytest.Fault{{Kind: proxytest.Flood, Method: "Initialize"}, {Kind: proxytest.Die, Method: "OpenImage"}}}
	_, err := OpenSource(within(t, 20*time.Second), fakeConfig(t, o), "docker://example.com/os")
	e := wantClass(t, err, ClassChildDied)
	if len(e.Stderr) != stderrTail || !strings.Contains(e.Stderr, "end of the flood\n") || !strings.HasSuffix(e.Stderr, "died in OpenImage as told\"\n") {
		t.Errorf("stderr has %d bytes and ends %q", len(e.Stderr), e.Stderr[max(0, len(e.Stderr)-200):])
	}
}

// TestTimeoutFailsOtherStreams: a hanging control call costs the child its life,
// and a stream that was well until then says why.
func TestTimeoutFailsOtherStreams(t *testing.T) {
	o := proxytest.Options{Layers: []int{4 << 20}, Faults: []proxytest.Fault{{Kind: proxytest.Hang, Method: "GetFullConfig"}}}
	cfg := fakeConfig(t, o)
	cfg.Timeouts = limits(proxytest.Hang, "GetFullConfig")
	checkLeaks(t, cfg.TempDir)
	s := openFake(t, cfg)
	r, err := s.Blob(t.Context(), o.Image().Parsed.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = s.Config(t.Context())
	wantClass(t, err, ClassTimeout)
	_, err = io.Copy(io.Discard, r)
	if e := wantClass(t, err, ClassTimeout); e.Op != "GetRawBlob" {
		t.Errorf("the error is one of %s", e.Op)
	}
}

// TestStalledRawStreamLeavesOthers: one stalled stream ends alone.
func TestStalledRawStreamLeavesOthers(t *testing.T) {
	o := proxytest.Options{Layers: []int{1 << 20, 4 << 20}, Faults: []proxytest.Fault{{Kind: proxytest.Stall, Method: "GetRawBlob"}}}
	o.Once = t.TempDir() + "/once"
	o.Log = t.TempDir() + "/log"
	cfg := fakeConfig(t, o)
	cfg.Timeouts = limits(proxytest.Stall, "GetRawBlob")
	checkLeaks(t, cfg.TempDir)
	img := o.Image()
	s := openFake(t, cfg)
	stalled, err := s.Blob(t.Context(), img.Parsed.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Blob(t.Context(), img.Parsed.Layers[1])
	if err != nil {
		t.Fatal(err)
	}
	_, err = readAll(stalled, nil)
	wantClass(t, err, ClassTimeout)
	if data, err := readAll(other, nil); err != nil || !bytes.Equal(data, img.Layers[1]) {
		t.Errorf("the other stream: %d bytes, %v", len(data), err)
	}
	if data, err := readAll(s.Blob(t.Context(), img.Parsed.Layers[0])); err != nil || !bytes.Equal(data, img.Layers[0]) {
		t.Errorf("the next try: %d bytes, %v", len(data), err)
	}
	if _, processes := methods(events(t, o.Log)); processes != 2 {
		t.Errorf("%d processes, want 2: the one with a stalled stream is replaced", processes)
	}
}

// TestCancel ends the context while the proxy hangs in each of the calls.
func TestCancel(t *testing.T) {
	for _, version := range faultVersions {
		for _, tt := range []struct {
			kind    proxytest.Kind
			methods []string
		}{
			{proxytest.Hang, strings.Fields(allCalls)},
			{proxytest.Stall, strings.Fields(pipeCalls + " BLOB")},
		} {
			for _, method := range tt.methods {
				if method == "BLOB" {
					method = "GetBlob"
					if version == "0.2.8" {
						method = "GetRawBlob"
					}
				}
				t.Run(string(tt.kind)+"/"+method+"/"+version, func(t *testing.T) {
					testCancel(t, version, proxytest.Fault{Kind: tt.kind, Method: method})
				})
			}
		}
	}
}

func testCancel(t *testing.T, version string, fault proxytest.Fault) {
	o := proxytest.Options{Version: version, Layers: []int{300 << 10}, Faults: []proxytest.Fault{fault}, Log: t.TempDir() + "/log"}
	cfg := fakeConfig(t, o)
	checkLeaks(t, cfg.TempDir)
	ctx, cancel := context.WithCancel(within(t, 20*time.Second))
	defer cancel()
	var ended time.Time
	done := make(chan error, 1)
	go func() {
		_, err := readImage(ctx, cfg, o.Image())
		ended = time.Now()
		done <- err
	}()
	awaitRequest(ctx, t, o.Log, fault.Method)
	start := time.Now()
	cancel()
	err := <-done
	if e := wantClass(t, err, ClassCanceled); !errors.Is(e, context.Canceled) || e.Retryable() {
		t.Errorf("error %q is no canceled context, or retryable", e)
	}
	if took := ended.Sub(start); took > stopWait {
		t.Errorf("it took %v", took)
	}
}

// awaitRequest waits until the proxy has logged a request.
func awaitRequest(ctx context.Context, t *testing.T, path, method string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.Fatal("the request did not come")
		case <-tick.C:
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), `"Method":"`+method+`"`) {
				return
			}
		}
	}
}
