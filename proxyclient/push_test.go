package proxyclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestPush(t *testing.T) {
	img := testImage(t, 1000, 200_000)
	parent, err := os.MkdirTemp("/var/tmp", "proxyclient-test-") // for us alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	dir := filepath.Join(parent, "layout")
	writeLayoutTo(t, dir, img, "v1")
	layout := "oci:" + dir + ":v1"
	for _, secure := range []bool{false, true} {
		r := startRegistry(t, secure)
		cfg := Config{User: nobody, TempDir: reachableDir(t), AuthFile: r.auth, CertDir: r.cert, SkipTLSVerify: !secure, Anonymous: !secure}
		name := "docker://" + r.host + "/pushed/os:v1"
		if err := Push(t.Context(), cfg, layout, name); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSource(t.Context(), cfg, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, dgst, err := s.Manifest(t.Context()); err != nil || dgst != digest.FromBytes(img.Manifest) {
			t.Errorf("the registry has %s (%v), pushed was %s", dgst, err, digest.FromBytes(img.Manifest))
		}
		s.Close()
		if secure {
			anonymous := Config{User: nobody, CertDir: r.cert, Anonymous: true}
			wantClass(t, Push(t.Context(), anonymous, layout, name), ClassUnauthorized)
		}
	}
}

func TestPushFails(t *testing.T) {
	needs.Tool(t, "skopeo")
	layout := "oci:" + writeLayout(t, testImage(t, 1000), "v1")
	temp := t.TempDir()
	cfg := Config{Anonymous: true, SkipTLSVerify: true, TempDir: temp}
	wantClass(t, Push(t.Context(), cfg, layout+":v1", "docker-daemon:os"), ClassUnsupported)
	wantClass(t, Push(t.Context(), cfg, layout+":v1", "containers-storage:[vfs@"+temp+":x.y=z]os"), ClassConfig)
	wantClass(t, Push(t.Context(), cfg, layout+":v1", "containers-storage:[vfs@"+temp+"]os"), ClassNotFound)
	wantClass(t, Push(t.Context(), cfg, layout+":v1", "docker://127.0.0.1:1/os"), ClassNetwork)
	wantClass(t, Push(t.Context(), Config{Command: []string{"no-such-skopeo"}, Anonymous: true, TempDir: temp}, layout+":v1", "docker://x/os"), ClassToolMissing)
	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if err := Push(ended, cfg, layout+":v1", "docker://127.0.0.1:1/os"); !errors.Is(wantClass(t, err, ClassCanceled), cause) {
		t.Errorf("canceled: %v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestLogMessage(t *testing.T) {
	for line, want := range map[string]string{
		`time="2026-01-02T03:04:05Z" level=fatal msg="writing blob: \"x\": denied: y"`: `writing blob: "x": denied: y`,
		`time="2026-01-02T03:04:05Z" level=fatal msg=short`:                            "short",
		`panic: level=fatal msg="x"`:                                                   `panic: level=fatal msg="x"`,
		"":                                                                             "",
	} {
		if got := logMessage(line); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}
