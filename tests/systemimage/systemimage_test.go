//go:build systemimage

package systemimage

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// shown is how many differences a failing test prints.
const shown = 20

func TestMain(m *testing.M) { fixture.Main(m) }

func TestSystemImage(t *testing.T) {
	layout := systemImage(t)
	registry := fixture.StartRegistry(t)
	unpacked := unpack(t, layout+":gzip")
	trees := map[string]string{}
	for _, tag := range []string{"gzip", "zstd"} {
		t.Run(tag, func(t *testing.T) {
			image := push(t, registry, layout, tag)
			h := newHost(t)
			started := time.Now()
			result := h.pull(t, image)
			t.Logf("pull: %.1f s, %d layers, %.0f MB", time.Since(started).Seconds(), len(result.Layers), float64(result.BytesFetched)/1e6)
			t.Logf("left out: %v", result.Filtered)
			fixture.Fsck(t, h.repo)
			compare(t, unpacked.mapped(!h.repo.Version().AtLeast(2024, 3)), h.checkout(t, result.Commit))
			trees[tag] = h.treeOf(t, result.Commit)

			started = time.Now()
			again := h.pull(t, image)
			t.Logf("second pull: %.2f s", time.Since(started).Seconds())
			if !again.AlreadyPresent || again.BytesFetched != 0 || again.Commit != result.Commit {
				t.Errorf("the second pull's result is %+v", again)
			}
		})
	}
	if trees["gzip"] != trees["zstd"] {
		t.Errorf("the compression of the layers makes a difference: %v", trees)
	}
}

// compare fails with the first differences between what a runtime unpacks and
// what ostree checks out.
func compare(t *testing.T, truth, checkout tree) {
	t.Helper()
	differences := truth.differences(checkout, "umoci", "the commit")
	t.Logf("%d entries compared, %d differences", len(truth), len(differences))
	for _, difference := range differences[:min(len(differences), shown)] {
		t.Error(difference)
	}
	if len(differences) > shown {
		t.Errorf("… and %d more", len(differences)-shown)
	}
}

// systemImage is the path of the OCI layout that image.sh makes.
func systemImage(t testing.TB) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "./image.sh")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("image.sh: %v", err)
	}
	return strings.TrimSpace(string(output))
}

// push copies an image of an OCI layout to the registry as it is, and gives its
// reference there.
func push(t testing.TB, registry *fixture.Registry, layout, tag string) string {
	t.Helper()
	image := "docker://" + registry.Host + "/debian:" + tag
	fixture.MustRun(t, "skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout+":"+tag, image)
	return image
}

// unpack is what an OCI runtime gets of an image.
func unpack(t *testing.T, image string) tree {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	fixture.MustRun(t, "umoci", "unpack", "--image", image, bundle)
	unpacked, err := readTree(filepath.Join(bundle, "rootfs"))
	if err != nil {
		t.Fatal(err)
	}
	return unpacked
}

// host is an empty repository with a bus that starts the daemon for it.
type host struct {
	repo *ostreerepo.Repo
	bus  *fixture.Bus
}

func newHost(t testing.TB) host {
	t.Helper()
	repo := fixture.NewRepo(t, ostreerepo.ModeBare)
	return host{repo: repo, bus: fixture.StartBus(t, fixture.DaemonOptions{Repo: repo.Path()})}
}

func (h host) pull(t testing.TB, image string) importer.Result {
	t.Helper()
	output := fixture.Run(t, h.bus.Ctl(t, "--quiet", "--json", "pull", "--tls-verify=false", image))
	var result importer.Result
	if err := json.Unmarshal([]byte(output.Stdout), &result); err != nil || output.Code != 0 {
		t.Fatalf("pull exits %d (%v): %s%s", output.Code, err, output.Stdout, output.Stderr)
	}
	return result
}

// checkout reads what ostree checks out of a commit.
func (h host) checkout(t *testing.T, commit string) tree {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	fixture.MustRun(t, "ostree", "--repo="+h.repo.Path(), "checkout", commit, dir)
	read, err := readTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// treeOf names a commit's tree: its root as ostree lists it, with the checksums
// of dirtree and dirmeta.
func (h host) treeOf(t *testing.T, commit string) string {
	t.Helper()
	return fixture.MustRun(t, "ostree", "--repo="+h.repo.Path(), "ls", "--dironly", "--checksum", commit)
}
