package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// What a pull would bring can be known before: layers and bytes; and what it has brought,
// afterwards: files.
func TestDiff(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	base, old, young := files("base"), files("same", "old"), files("same", "young")
	first, moving := s.push(t, "moving", base, old)
	before := pulled(t, fixture.Run(t, s.pull(t, moving)))
	diff := func(args ...string) importer.Comparison {
		t.Helper()
		return answer[importer.Comparison](t, fixture.Run(t, s.bus.Ctl(t, append([]string{"--json", "diff", "--tls-verify=false"}, args...)...)))
	}
	if c := diff(moving); len(c.Added)+len(c.Removed) > 0 || len(c.Kept) != 2 || c.BytesToFetch != 0 {
		t.Errorf("what has not changed differs: %+v", c)
	}

	second, _ := s.push(t, "moving", base, young)
	s.gateway.Fetched()
	c := diff(moving)
	size := func(img *ociimage.Image, layer int) uint64 { return uint64(img.Layers[layer].Size) }
	if len(c.Added) != 1 || len(c.Removed) != 1 || len(c.Kept) != 1 ||
		c.Added[0].Digest != second.Layers[1].Digest || c.Removed[0].Digest != first.Layers[1].Digest || c.Kept[0].Digest != first.Layers[0].Digest {
		t.Errorf("the layers are %+v", c)
	}
	if c.BytesAdded != size(second, 1) || c.BytesToFetch != size(second, 1) || c.BytesRemoved != size(first, 1) || c.BytesKept != size(first, 0) {
		t.Errorf("the bytes are %+v", c)
	}
	if c.From.ManifestDigest != first.ManifestDigest || c.To.ManifestDigest != second.ManifestDigest {
		t.Errorf("from %+v to %+v", c.From, c.To)
	}
	fetched := s.gateway.Fetched()
	for _, l := range second.Layers {
		if fetched[l.Digest] > 0 {
			t.Errorf("layer %s was fetched", l.Digest)
		}
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "diff", "--tls-verify=false", "--files", moving)); out.Code != 2 || !strings.Contains(out.Stderr, "--target") {
		t.Errorf("--files of what is not stored exits %d: %s", out.Code, out.Stderr)
	}

	s.registry.Push(t, second, "os:next")
	next := s.reference("next")
	pulled(t, fixture.Run(t, s.pull(t, next)))
	c = diff(moving, next, "--files")
	var changes []string
	for _, f := range c.Files {
		changes = append(changes, f.Change+" "+f.Path)
	}
	if want := []string{"removed /usr/old", "added /usr/young"}; !slices.Equal(changes, want) {
		t.Errorf("the files are %q, want %q", changes, want)
	}
	if c.BytesToFetch != 0 || c.From.Commit != before.Commit {
		t.Errorf("of two stored images the difference is %+v", c)
	}
	out := fixture.Run(t, s.bus.Ctl(t, "diff", moving, next, "--files"))
	if !containsAll(out.Stdout, []string{"/usr/old", "/usr/young", first.Layers[1].Digest.Encoded()[:12], second.Layers[1].Digest.Encoded()[:12]}) {
		t.Errorf("diff prints\n%s", out.Stdout)
	}
}

// A newer version is found at the origin, and remembered when the origin can't be reached any more,
// until it is imported.
func TestCheckUpdate(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	version := func(version, content string) *ociimage.Image {
		img := build(t, ociimage.Spec{
			Created: "2026-01-0" + version + "T00:00:00Z", Labels: map[string]string{ocispec.AnnotationVersion: version},
		}, files("base"), files(content))
		s.registry.Push(t, img, "os:moving")
		return img
	}
	version("1", "old")
	moving := s.reference("moving")
	pulled(t, fixture.Run(t, s.pull(t, moving)))
	client := s.bus.Client(t)
	check := func(offline bool) *importer.Update {
		t.Helper()
		request := importer.UpdateRequest{Image: moving, Offline: offline, Access: importer.Access{SkipTLSVerify: !offline}}
		update, err := client.CheckUpdate(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		return update
	}
	for _, offline := range []bool{false, true} {
		if u := check(offline); u.Available {
			t.Errorf("an update to the same: %+v", u)
		}
	}

	img := version("2", "young")
	if u := check(true); u.Available {
		t.Errorf("nobody has asked yet, but offline there is %+v", u)
	}
	s.gateway.Fetched()
	online := check(false)
	if !online.Available || online.ManifestDigest != img.ManifestDigest || online.Version != "2" || online.LayersToFetch != 1 ||
		online.BytesToFetch != uint64(img.Layers[1].Size) || online.Created.Day() != 2 {
		t.Errorf("the update is %+v", online)
	}
	if s.gateway.Fetched()[img.Layers[1].Digest] > 0 {
		t.Error("the layer was fetched")
	}
	out := s.busctl(t, "call", managerPath, managerInterface, "CheckUpdate", "sa{sv}", moving, "1", "offline", "b", "true")
	if out.Code != 0 || !strings.HasPrefix(out.Stdout, "ba{sv} true ") || !strings.Contains(out.Stdout, img.ManifestDigest.String()) {
		t.Errorf("busctl exits %d: %s%s", out.Code, out.Stdout, out.Stderr)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "show", moving)); !strings.Contains(out.Stdout, "2, "+img.ManifestDigest.String()) {
		t.Errorf("show doesn't tell of the update:\n%s", out.Stdout)
	}

	// Neither a daemon that forgets nor an origin that is gone makes a difference.
	s.bus.KillDaemon(t)
	s.gateway.Shut()
	if offline := check(true); fmt.Sprint(*offline) != fmt.Sprint(*online) {
		t.Errorf("offline the update is %+v, online it was %+v", offline, online)
	}

	// By another way the image comes after all, and then there is no news of its name.
	s.gateway = fixture.StartGateway(t, s.registry)
	pulled(t, fixture.Run(t, s.pull(t, s.reference("moving"), "--target="+moving)))
	if u := check(true); u.Available {
		t.Errorf("after the update there is %+v", u)
	}
}
