package importer

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// testHost is a repository with an importer that fetches from a testRegistry.
type testHost struct {
	testing.TB
	repo     *ostreerepo.Repo
	registry *testRegistry
	im       *Importer
}

func newHost(t testing.TB, mode ostreerepo.Mode, registry *testRegistry) *testHost {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(context.Background(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(needs.Tool(t, "ostree"), "--repo="+repo.Path(), "config", "set", "core.fsync", "false").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	return &testHost{TB: t, repo: repo, registry: registry, im: New(Config{Repo: repo, Open: registry.Open, Log: log})}
}

// pull prepares and imports.
func (h *testHost) pull(req Request) (*Result, error) {
	h.Helper()
	p, err := h.im.Prepare(context.Background(), req)
	if err != nil {
		return nil, err
	}
	defer func() { h.must(p.Close()) }()
	return p.Import(context.Background(), nil)
}

func (h *testHost) mustPull(req Request) *Result {
	h.Helper()
	res, err := h.pull(req)
	h.must(err)
	return res
}

func (h *testHost) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// ostree runs the ostree command on the repository.
func (h *testHost) ostree(args ...string) string {
	h.Helper()
	out, err := exec.Command(needs.Tool(h, "ostree"), append([]string{"--repo=" + h.repo.Path()}, args...)...).CombinedOutput()
	if err != nil {
		h.Fatalf("ostree %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ostreeFails runs an ostree command that reports by its exit status what it has found.
func (h *testHost) ostreeFails(args ...string) {
	h.Helper()
	if out, err := exec.Command(needs.Tool(h, "ostree"), append([]string{"--repo=" + h.repo.Path()}, args...)...).CombinedOutput(); err == nil {
		h.Fatalf("ostree %s succeeded: %s", strings.Join(args, " "), out)
	}
}

// refs lists the refs with their commits.
func (h *testHost) refs() string {
	h.Helper()
	refs, err := h.repo.Refs("")
	h.must(err)
	return fmt.Sprint(refs)
}

// paths lists the paths of a commit.
func (h *testHost) paths(rev string) string {
	h.Helper()
	var paths []string
	for line := range strings.Lines(h.ostree("ls", "-R", "--nul-filenames-only", rev)) {
		paths = append(paths, strings.FieldsFunc(line, func(r rune) bool { return r == 0 })...)
	}
	return strings.Join(paths, " ")
}

// checkClean fails the test when the repository has other refs than before or an import left
// something behind.
func (h *testHost) checkClean(refs string) {
	h.Helper()
	if got := h.refs(); got != refs {
		h.Errorf("refs are\n%s\nwant as before\n%s", got, refs)
	}
	left, err := filepath.Glob(filepath.Join(h.repo.Path(), "tmp", "importd-*"))
	h.must(err)
	if len(left) > 0 {
		h.Errorf("left behind: %v", left)
	}
	if h.registry.open != 0 {
		h.Errorf("%d sources were left open", h.registry.open)
	}
	h.ostree("fsck")
}

// removeObject damages the repository.
func (h *testHost) removeObject(checksum, kind string) {
	h.Helper()
	h.must(os.Remove(h.object(checksum, kind)))
}

func (h *testHost) object(checksum, kind string) string {
	return filepath.Join(h.repo.Path(), "objects", checksum[:2], checksum[2:]+"."+kind)
}

// metadata gives a text of a commit's metadata, as the ostree command prints it.
func (h *testHost) metadata(rev, key string) string {
	h.Helper()
	out := strings.TrimSpace(h.ostree("show", "--print-metadata-key="+key, rev))
	return strings.Trim(out, "'")
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func mustChecksum(t testing.TB, s string) objects.Checksum {
	t.Helper()
	c, err := objects.ParseChecksum(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// incompressible gives a text that gzip can't make much smaller, the same one each time.
func incompressible(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}
