package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// layoutOf writes an image of one layer, and gives the reference to pull it by.
func layoutOf(t *testing.T) string {
	t.Helper()
	dir := fixture.PublicDir(t)
	if err := build(t, ociimage.Spec{}, files("a")).WriteLayout(dir, "1"); err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir + ":1"
}

// TestFirstUse has a daemon that is started before there is a repository, or the directory above
// it.
func TestFirstUse(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "ostree/repo")
	image := layoutOf(t)
	bus := fixture.StartBus(t, fixture.DaemonOptions{Repo: repo})
	out := fixture.Run(t, bus.Ctl(t, "pull", image))
	if out.Code != 1 || !strings.Contains(out.Stderr, repo) || !strings.HasSuffix(out.Stderr, "; `ostree-importctl init` makes one\n") {
		t.Errorf("without a repository pull exits %d and says\n%s", out.Code, out.Stderr)
	}
	if out := fixture.Run(t, bus.Ctl(t, "init", "--mode=bare-user-only")); out.Code != 2 || !strings.Contains(out.Stderr, "bare, bare-user or archive") {
		t.Errorf("of a mode that holds no images init exits %d and says\n%s", out.Code, out.Stderr)
	}
	want := importer.InitResult{Repository: repo, Mode: "bare", Created: true}
	if made := answer[importer.InitResult](t, fixture.Run(t, bus.Ctl(t, "--json", "init"))); made != want {
		t.Errorf("init says %+v, want %+v", made, want)
	}
	pulled(t, fixture.Run(t, bus.Ctl(t, "pull", "--json", image)))
	want.Created = false
	if again := answer[importer.InitResult](t, fixture.Run(t, bus.Ctl(t, "--json", "init"))); again != want {
		t.Errorf("the second time init says %+v, want %+v", again, want)
	}
	if out := fixture.Run(t, bus.Ctl(t, "images")); !strings.Contains(out.Stdout, image) {
		t.Errorf("the images are\n%s", out.Stdout)
	}
}

// TestFirstUseLocally follows the advice of the error as it is printed.
func TestFirstUseLocally(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "missing/repo")
	image := layoutOf(t)
	out := fixture.Run(t, local(t, repo, "pull", image))
	_, advice, _ := strings.Cut(out.Stderr, "`ostree-importctl ")
	advice, _, found := strings.Cut(advice, "`")
	if out.Code != 1 || !found {
		t.Fatalf("without a repository pull exits %d and says\n%s", out.Code, out.Stderr)
	}
	cmd := local(t, repo)
	cmd.Args = append(cmd.Args[:1], strings.Fields(advice)...)
	if out := fixture.Run(t, cmd); out.Code != 0 || out.Stdout != "made "+repo+", a repository of mode bare\n" {
		t.Errorf("%s exits %d and says\n%s%s", advice, out.Code, out.Stdout, out.Stderr)
	}
	if out := fixture.Run(t, local(t, repo, "init", "--mode=archive")); out.Code != 2 || !strings.Contains(out.Stderr, "has the mode bare, not archive") {
		t.Errorf("init of another mode exits %d and says\n%s", out.Code, out.Stderr)
	}
	pulled(t, fixture.Run(t, local(t, repo, "pull", "--json", image)))
}

// TestRemoveOfAnImageInUse: the image of a deployment stays until it is removed by force.
func TestRemoveOfAnImageInUse(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "ostree/repo")
	image := layoutOf(t)
	bus := fixture.StartBus(t, fixture.DaemonOptions{Repo: repo})
	answer[importer.InitResult](t, fixture.Run(t, bus.Ctl(t, "--json", "init")))
	commit := pulled(t, fixture.Run(t, bus.Ctl(t, "pull", "--json", image))).Commit
	deployment := filepath.Join(filepath.Dir(repo), "deploy/os/deploy", commit+".0")
	if err := os.MkdirAll(deployment, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(deployment+".origin", []byte("[origin]\ncontainer-image-reference=ostree-unverified-image:"+image+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := fixture.Run(t, bus.Ctl(t, "remove", image))
	if out.Code != 4 || !strings.Contains(out.Stderr, image+" is in use: the deployment "+commit+".0 of os is its commit") {
		t.Errorf("remove exits %d and says\n%s", out.Code, out.Stderr)
	}
	if out := fixture.Run(t, bus.Ctl(t, "gc", "--images", "--keep-last=0")); out.Code != 0 || strings.Contains(out.Stdout, image) {
		t.Errorf("gc --images exits %d and says\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	if removed := answer[importer.RemoveResult](t, fixture.Run(t, bus.Ctl(t, "--json", "remove", "--force", image))); len(removed.Removed) != 1 {
		t.Errorf("remove --force says %+v", removed)
	}
}
