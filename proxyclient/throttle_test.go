package proxyclient

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestRetryAfterValues(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "60": time.Minute, "3600": time.Hour, "-5": -5 * time.Second, "soon": 0, "": 0,
		"9223372036854775807":           365 * 24 * time.Hour,
		"Fri, 02 Jan 2026 03:06:05 GMT": 2 * time.Minute,
		"Fri, 02 Jan 9026 03:06:05 GMT": 365 * 24 * time.Hour,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// TestThrottle: lines of skopeo's debug log extend the limit of the call under way, or end it.
func TestThrottle(t *testing.T) {
	detected := `time="x" level=debug msg="Detected 'Retry-After' header \"%s\""` + "\n"
	sleeping := `time="x" level=debug msg="Too many requests to https://example.com/v2/: sleeping for %d.000000 seconds before next attempt"` + "\n"
	for _, tt := range []struct {
		name   string
		lines  []string
		refuse string
		asked  time.Duration
	}{
		{"short", []string{fmt.Sprintf(detected, "20"), fmt.Sprintf(sleeping, 20)}, "", 20 * time.Second},
		{"up to a minute", []string{fmt.Sprintf(sleeping, 20), fmt.Sprintf(sleeping, 40)}, "", time.Minute},
		{"again and again", []string{fmt.Sprintf(sleeping, 20), fmt.Sprintf(sleeping, 41)}, "again and again", 61 * time.Second},
		{"an hour", []string{fmt.Sprintf(detected, "3600")}, "asks to wait 1h0m0s", 0},
		{"no debug line", []string{"Too many requests to x: sleeping for 99.0 seconds\n"}, "", 0},
		{"in a text of the registry", []string{`time="x" level=debug msg="said: level=debug msg=\"Detected 'Retry-After' header \\\"3600\\\"\""` + "\n"}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var refused *Error
			var rest strings.Builder
			f := &logFilter{throttle: &throttle{refuse: func(e *Error) { refused = e }}, rest: &rest}
			f.throttle.begin(time.NewTimer(time.Hour), time.Hour)
			text := strings.Join(tt.lines, "")
			for i := range text { // byte by byte: lines need not come whole
				f.Write([]byte{text[i]})
			}
			if (refused == nil) != (tt.refuse == "") || refused != nil && !strings.Contains(refused.Message, tt.refuse) {
				t.Errorf("refused with %v, want %q", refused, tt.refuse)
			}
			if f.throttle.asked != tt.asked {
				t.Errorf("asked to wait %v, want %v", f.throttle.asked, tt.asked)
			}
			f.throttle.end()
			f.throttle.line([]byte(text)) // when no call is under way
		})
	}
}

// TestBusyRegistry: what a registry asks for that limits requests, with the real skopeo.
func TestBusyRegistry(t *testing.T) {
	needs.Tool(t, "skopeo")
	for _, tt := range []struct {
		name, after string
		status      int
		message     string // of the error
		requests    int32
	}{
		{"429 for an hour", "3600", http.StatusTooManyRequests, "asks to wait 1h0m0s", 1},
		{"429 until a date", time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat), http.StatusTooManyRequests, "asks to wait 2", 1},
		{"429 for a second, again and again", "0", http.StatusTooManyRequests, "429", 5},
		// The proxy does not tell what a registry asks for with this status.
		{"503 for an hour", "3600", http.StatusServiceUnavailable, "503 Service Unavailable", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.Contains(req.URL.Path, "/manifests/") {
					requests.Add(1)
					w.Header().Set("Retry-After", tt.after)
					w.WriteHeader(tt.status)
				}
			}))
			defer front.Close()
			cfg := realConfig(t, nobody)
			cfg.SkipTLSVerify, cfg.Retries = true, -1
			if strings.Contains(tt.message, "wait") {
				cfg.Retries = 5
			}
			_, err := OpenSource(within(t, time.Minute), cfg, "docker://"+front.Listener.Addr().String()+"/os:1")
			if e := wantClass(t, err, ClassNetwork); !strings.Contains(e.Message, tt.message) || e.Stderr != "" && strings.Contains(e.Stderr, "level=debug") {
				t.Errorf("%v\n%s", e, e.Stderr)
			}
			if n := requests.Load(); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}
