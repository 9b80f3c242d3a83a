package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// blobRef is the ref of an image's layer, which is counted from 0.
func blobRef(t *testing.T, img *ociimage.Image, layer int) string {
	t.Helper()
	ref, err := reference.BlobRef(img.Layers[layer].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// sharing is a stage with two stored images that share their first layer.
type sharing struct {
	*stage
	first, second *ociimage.Image
	one, two      string // references
}

func newSharing(t *testing.T) sharing {
	t.Helper()
	s := sharing{stage: newStage(t, fixture.DaemonOptions{})}
	s.first, s.one = s.push(t, "1", files("shared"), files("first"))
	s.second, s.two = s.push(t, "2", files("shared"), files("second"))
	for _, reference := range []string{s.one, s.two} {
		pulled(t, fixture.Run(t, s.pull(t, reference)))
	}
	return s
}

// What only a removed image needed goes when somebody collects. A dry run says what would go, and
// why the rest stays.
func TestCollect(t *testing.T) {
	s := newSharing(t)
	first, one, second, two := s.first, s.one, s.second, s.two
	none := s.reference("none")
	removed := answer[importer.RemoveResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "remove", "--skip-gc", two, none)))
	if !slices.Equal(removed.Removed, []string{two}) || !slices.Equal(removed.Missing, []string{none}) || removed.Collected != nil {
		t.Errorf("remove says %+v", removed)
	}
	before := fixture.Refs(t, s.repo)
	dry := answer[importer.PruneResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "gc", "--dry-run")))
	reasons := map[string]string{}
	for _, ref := range dry.Refs {
		reasons[ref.Ref] = fmt.Sprintf("%t %s", ref.Deleted, ref.Reason)
	}
	for ref, want := range map[string]string{
		blobRef(t, first, 0): "false needed by the image " + one, blobRef(t, first, 1): "false needed by the image " + one,
		blobRef(t, second, 1): "true no image or deployment needs it", s.show(t, one).ImageRef: "false it is stored",
	} {
		if reasons[ref] != want {
			t.Errorf("%s: %q, want %q", ref, reasons[ref], want)
		}
	}
	if len(reasons) != 4 || dry.Layers != 1 || dry.Objects == 0 || dry.Bytes < 100_000 {
		t.Errorf("the dry run says %+v", dry)
	}
	wantUnchanged(t, s.stage, before)
	if out := fixture.Run(t, s.bus.Ctl(t, "gc", "--dry-run")); !strings.Contains(out.Stdout, "no image or deployment needs it") {
		t.Errorf("gc --dry-run prints\n%s", out.Stdout)
	}

	done := answer[importer.PruneResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "gc")))
	if done.Layers != dry.Layers || done.Objects != dry.Objects || done.Bytes != dry.Bytes {
		t.Errorf("collected %d layers, %d objects, %d bytes; the dry run says %+v", done.Layers, done.Objects, done.Bytes, dry)
	}
	if after := fixture.Refs(t, s.repo); strings.Contains(after, blobRef(t, second, 1)) || !strings.Contains(after, blobRef(t, first, 0)) {
		t.Errorf("the refs are\n%s", after)
	}
	again := answer[importer.PruneResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "gc")))
	if again.Layers != 0 || again.Objects != 0 {
		t.Errorf("collected again: %+v", again)
	}
	wantTree(t, s.repo, s.show(t, one).Commit, files("shared"), files("first"))
	fixture.Fsck(t, s.repo)
}

// An image that is removed takes along what only it needed. It can come again; the last one leaves
// nothing.
func TestRemove(t *testing.T) {
	s := newSharing(t)
	one, two := s.one, s.two
	both := fixture.Refs(t, s.repo)
	removed := answer[importer.RemoveResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "remove", one)))
	if c := removed.Collected; c == nil || c.Layers != 1 || c.Objects == 0 {
		t.Errorf("remove says %+v", removed)
	}
	wantTree(t, s.repo, s.show(t, two).Commit, files("shared"), files("second"))
	fixture.Fsck(t, s.repo)
	pulled(t, fixture.Run(t, s.pull(t, one)))
	if now := fixture.Refs(t, s.repo); now != both {
		t.Errorf("pulled again the refs are\n%sand were\n%s", now, both)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "remove", one)); out.Code != 0 {
		t.Errorf("removing an image exits %d: %s", out.Code, out.Stderr)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "remove", two)); out.Code != 0 {
		t.Errorf("removing the last image exits %d: %s", out.Code, out.Stderr)
	}
	if refs := fixture.Refs(t, s.repo); refs != "" {
		t.Errorf("with no image left the refs are\n%s", refs)
	}
	if left := strings.TrimSpace(fixture.MustRun(t, "find", s.repo.Path()+"/objects", "-type", "f")); left != "" {
		t.Errorf("with no image left there are the objects\n%s", left)
	}
}

// Fifty clients pull, remove, collect and look at once, with the daemon and without: each gets an
// answer, what nobody removes stays, and so does what is pulled last.
func TestManyClients(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	fixture.NoSync(t, s.repo)
	_, kept := s.push(t, "kept", files("shared"), files("kept"))
	result := pulled(t, fixture.Run(t, s.pull(t, kept)))
	var coming []string
	for i := range 3 {
		_, reference := s.push(t, fmt.Sprint(i), files("shared"), files(fmt.Sprint(i)))
		coming = append(coming, reference)
	}
	clients := make([]*exec.Cmd, 50)
	for i := range clients {
		var cmd *exec.Cmd
		switch name := coming[i%len(coming)]; i % 5 {
		case 0:
			cmd = s.pull(t, name)
		case 1:
			cmd = local(t, s.repo.Path(), "pull", "--tls-verify=false", name)
		case 2:
			cmd = s.bus.Ctl(t, "remove", name)
		case 3:
			cmd = local(t, s.repo.Path(), "gc")
			if i%2 == 0 {
				cmd = s.bus.Ctl(t, "gc")
			}
		case 4:
			cmd = exec.Command(fixture.Tool(t, "busctl"), "--address="+s.bus.Address, "--timeout=60", "call", dbus.BusName,
				managerPath, managerInterface, "ListImages")
		}
		clients[i] = cmd
	}
	for i, out := range fixture.RunAll(t, clients) {
		if out.Code != 0 {
			t.Errorf("client %d exits %d: %s", i, out.Code, out.Stderr)
		}
		if i%5 == 4 && !strings.Contains(out.Stdout, kept) {
			t.Errorf("client %d does not see %s: %s", i, kept, out.Stdout)
		}
	}
	if image := s.show(t, kept); image.Commit != result.Commit || image.Broken != "" {
		t.Errorf("what nobody touches is %+v, was %+v", image, result)
	}
	for i, name := range coming {
		wantTree(t, s.repo, pulled(t, fixture.Run(t, s.pull(t, name))).Commit, files("shared"), files(fmt.Sprint(i)))
	}
	checked := answer[importer.VerifyResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "verify")))
	if checked.Count(importer.StateGood) != 1+len(coming) {
		t.Errorf("verify says %+v", checked)
	}
	fixture.Fsck(t, s.repo)
	if left := fixture.Leftovers(t, s.repo); len(left) > 0 {
		t.Errorf("left in tmp: %q", left)
	}
	wantNoGarbage(t, s.repo)
}

// wantNoGarbage fails the test when ostree finds an object that no ref reaches.
func wantNoGarbage(t *testing.T, repo *ostreerepo.Repo) {
	t.Helper()
	out := fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "prune", "--refs-only", "--no-prune")
	if !strings.Contains(out, "No unreachable objects") {
		t.Errorf("ostree prune would delete objects: %s", out)
	}
}
