package proxyclient

import (
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
)

func TestPace(t *testing.T) {
	type read struct {
		took time.Duration
		n    int
	}
	const s, quota = time.Second, 10 << 10
	for _, tt := range []struct {
		name  string
		reads []read
		ok    bool
	}{
		{"nothing yet", []read{{9 * s, 0}}, true},
		{"nothing", []read{{10 * s, 0}}, false},
		{"a byte now and then", []read{{5 * s, 1}, {5 * s, 1}}, false},
		{"just enough", []read{{5 * s, quota - 1}, {5 * s, 1}, {9 * s, 0}}, true},
		{"one byte less", []read{{5 * s, quota - 2}, {5 * s, 1}}, false},
		{"fast, then silent", []read{{0, 100 * quota}, {10 * s, 0}}, false},
		{"a reader that is busy elsewhere", []read{{0, 1}, {0, 1}, {0, 1}, {9 * s, 1}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pace{window: 10 * s}
			ok := true
			for _, r := range tt.reads {
				ok = ok && p.note(r.took, r.n)
			}
			if ok != tt.ok {
				t.Errorf("fast enough: %v, want %v", ok, tt.ok)
			}
		})
	}
}

// TestDrip: a source that sends a byte now and then is given up, whatever it sends so.
func TestDrip(t *testing.T) {
	for _, version := range faultVersions {
		blob := "GetBlob"
		if version == "0.2.8" {
			blob = "GetRawBlob"
		}
		for _, method := range []string{"GetManifest", "GetFullConfig", blob} {
			t.Run(method+"/"+version, func(t *testing.T) {
				o := proxytest.Options{Version: version, Layers: []int{1 << 20}, Faults: []proxytest.Fault{{Kind: proxytest.Drip, Method: method}}}
				cfg := fakeConfig(t, o)
				cfg.Timeouts.Stall = shortLimit
				checkLeaks(t, cfg.TempDir)
				_, err := readImage(within(t, time.Minute), cfg, o.Image())
				if e := wantClass(t, err, ClassTimeout); !e.Retryable() || !strings.Contains(e.Message, "too slow") {
					t.Errorf("retryable %v: %v", e.Retryable(), e)
				}
			})
		}
	}
}

// TestDocumentsLimit: whatever holds up the documents, and however often that is tried again, costs
// no more than their limit.
func TestDocumentsLimit(t *testing.T) {
	for _, fault := range []proxytest.Fault{
		{Kind: proxytest.Hang, Method: "OpenImage"},
		{Kind: proxytest.Hang, Method: "GetManifest"},
		{Kind: proxytest.Drip, Method: "GetManifest"},
		{Kind: proxytest.Hang, Method: "GetFullConfig"},
		{Kind: proxytest.Drip, Method: "GetFullConfig"},
		{Kind: proxytest.Error, Method: "OpenImage", Message: "received unexpected HTTP status: 503 Service Unavailable"},
	} {
		t.Run(fault.Method+"/"+string(fault.Kind), func(t *testing.T) {
			o := proxytest.Options{Layers: []int{1}, Faults: []proxytest.Fault{fault}}
			cfg := fakeConfig(t, o)
			cfg.Retries = 1000
			cfg.Timeouts.Documents = 2 * time.Second
			checkLeaks(t, cfg.TempDir)
			_, err := readImage(within(t, time.Minute), cfg, o.Image())
			if e := wantClass(t, err, ClassTimeout); !strings.Contains(e.Message, "did not come within 2s") {
				t.Error(e)
			}
		})
	}
}
