package proxyclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
)

func TestMain(m *testing.M) {
	proxytest.Main()
	if log := os.Getenv(hangingUser); log != "" {
		hangInOpen(log)
	}
	os.Exit(m.Run())
}

// hangingUser is the environment variable, with a log's path, that makes this
// binary a process which waits for a hanging proxy.
const hangingUser = "PROXYCLIENT_HANGING_USER"

func hangInOpen(log string) {
	o := proxytest.Options{Log: log, Faults: []proxytest.Fault{{Kind: proxytest.Hang, Method: "OpenImage"}}}
	_, err := OpenSource(context.Background(), Config{Command: o.Command(), Anonymous: true, TempDir: filepath.Dir(log)}, "docker://example.com/os")
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// versions are the protocol versions that differ for the client.
var versions = []string{"0.2.3", "0.2.6", "0.2.8"}

// shortLimit makes a hanging proxy cost little.
const shortLimit = 400 * time.Millisecond

// limits returns limits of which only those are short that a fault of the kind
// at the method runs into: on a busy machine good calls take their time.
func limits(kind proxytest.Kind, method string) Timeouts {
	t := Timeouts{Backoff: time.Millisecond}
	switch {
	case kind != proxytest.Hang || method == "FinishPipe":
		t.Stall = shortLimit
	case method == "Initialize":
		t.Initialize = shortLimit
	case method == "OpenImage":
		t.Open = shortLimit
	default:
		t.Control = shortLimit
	}
	return t
}

// fakeConfig runs the proxy with faults.
func fakeConfig(t *testing.T, o proxytest.Options) Config {
	t.Helper()
	return Config{Command: o.Command(), Anonymous: true, TempDir: t.TempDir(), Retries: -1, Timeouts: Timeouts{Backoff: time.Millisecond}}
}

// events reads the log of a fake proxy.
func events(t *testing.T, path string) []proxytest.Event {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []proxytest.Event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e proxytest.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// methods returns the requests in a log, and how many processes made it.
func methods(all []proxytest.Event) (requests []string, processes int) {
	for _, e := range all {
		if e.Method == "" {
			processes++
		} else {
			requests = append(requests, e.Method)
		}
	}
	return requests, processes
}

// wantClass fails unless err is an *Error of the class; it returns it.
func wantClass(t *testing.T, err error, class Class) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *Error of class %s", err, err, class)
	}
	if e.Class != class {
		t.Fatalf("class is %s, want %s: %v", e.Class, class, err)
	}
	return e
}

// checkLeaks fails the test unless, at its end, there are as many descriptors,
// goroutines and children as now, and nothing is left in dir.
func checkLeaks(t *testing.T, dir string) {
	t.Helper()
	percent := debug.SetGCPercent(-1) // the garbage collector would close forgotten files
	fds, goroutines, before := openFDs(t), runtime.NumGoroutine(), children(t)
	t.Cleanup(func() {
		defer debug.SetGCPercent(percent)
		var state string
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			now, routines, kids := openFDs(t), runtime.NumGoroutine(), children(t)
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Error(err)
			}
			if len(now) <= len(fds) && routines <= goroutines && len(kids) <= len(before) && len(left) == 0 {
				return
			}
			state = fmt.Sprintf("descriptors %v (were %v), goroutines %d (were %d), children %v (were %v), in the temporary directory %v", now, fds, routines, goroutines, kids, before, left)
		}
		stacks := make([]byte, 64<<10)
		t.Errorf("leak: %s\n%s", state, stacks[:runtime.Stack(stacks, true)])
	})
}

func openFDs(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(target, "anon_inode") && !strings.HasPrefix(target, "/proc/") {
			open = append(open, e.Name()+"="+target)
		}
	}
	return open
}

// children returns the processes that are children of this one.
func children(t *testing.T) []string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err == nil { // else the thread has ended
			all = append(all, strings.Fields(string(data))...)
		}
	}
	return all
}

// within returns a context that ends when a test has hung.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("the test hung"))
	t.Cleanup(cancel)
	return ctx
}

// readAll reads a blob as a careful caller does.
func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// readVerified reads a blob as every caller must: with GetRawBlob nobody else compares the digest.
func readVerified(s *Source, raw bool, desc ocispec.Descriptor) ([]byte, error) {
	data, err := readAll(s.Blob(context.Background(), desc))
	if err == nil && raw && desc.Digest.Algorithm().FromBytes(data) != desc.Digest {
		return nil, &Error{Class: ClassIntegrity, Op: "test", Message: "corrupted blob"}
	}
	return data, err
}

// hasRawBlobs tells whether the skopeo that is installed has GetRawBlob.
func hasRawBlobs(t *testing.T) bool {
	t.Helper()
	p, err := Start(within(t, time.Minute), realConfig(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Version().hasRawBlob()
}

func digestOf(data []byte) string { return digest.FromBytes(data).String() }
