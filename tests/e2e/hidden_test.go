package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// Paths of the caller that the daemon's unit hides from it are called that, and not missing;
// nothing is written there.
func TestHiddenPaths(t *testing.T) {
	hidden, open := t.TempDir(), t.TempDir()
	s := newStage(t, fixture.DaemonOptions{Hidden: []string{hidden}})
	img := build(t, ociimage.Spec{}, files("a"))
	for _, dir := range []string{hidden, open} {
		if err := img.WriteLayout(filepath.Join(dir, "image"), "1"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "auth.json"), []byte(`{"auths": {}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fixture.MustRun(t, "ostree", "--repo="+filepath.Join(hidden, "repo"), "init", "--mode=bare-user")
	if err := os.Symlink(hidden, filepath.Join(open, "link")); err != nil {
		t.Fatal(err)
	}
	stored := "oci:" + open + "/image:1"
	pulled(t, fixture.Run(t, s.bus.Ctl(t, "pull", "--json", stored)))
	_, registry := s.push(t, "1", files("a"))
	for _, args := range [][]string{
		{"copy", stored, "--to-repo=" + hidden + "/repo"},
		{"pull", registry, "--cert-dir=" + hidden},
	} {
		out := fixture.Run(t, s.bus.Ctl(t, args...))
		if out.Code != 2 || !strings.Contains(out.Stderr, "the daemon cannot") || !strings.Contains(out.Stderr, "--local") {
			t.Errorf("%q exits %d: %s", args, out.Code, out.Stderr)
		}
	}

	// What the command line opens and passes is used.
	if err := os.WriteFile(filepath.Join(hidden, "broken.json"), []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := fixture.Run(t, s.bus.Ctl(t, "pull", registry, "--authfile="+hidden+"/broken.json"))
	if out.Code != 2 || !strings.Contains(out.Stderr, "is not JSON") {
		t.Errorf("a broken authfile: exits %d: %s", out.Code, out.Stderr)
	}

	// A client that passes no descriptors.
	for name, err := range hiddenCalls(t, s.bus.Client(t), stored, registry, hidden, open) {
		if importer.KindOf(err) != importer.KindInvalidOption || !strings.Contains(err.Error(), "the daemon cannot") {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, err := os.ReadDir(hidden)
	if err != nil || len(entries) != 4 {
		t.Errorf("%s, %v, want what the test has put there", entries, err)
	}
}

// Images that only the caller sees are imported all the same, from whatever they are in.
func TestHiddenImages(t *testing.T) {
	hidden := t.TempDir()
	s := newStage(t, fixture.DaemonOptions{Hidden: []string{hidden}})
	layers := []ocimodel.Layer{files("a", "b"), files("c")}
	layout := "oci:" + hidden + "/layout:os/1"
	if err := build(t, ociimage.Spec{}, layers...).WriteLayout(hidden+"/layout", "os/1"); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{
		layout, "oci-archive:" + hidden + "/oci.tar:os/1", "docker-archive:" + hidden + "/docker.tar:example.com/os:1", "dir:" + hidden + "/dir",
	} {
		t.Run(image, func(t *testing.T) {
			if image != layout {
				fixture.MustRun(t, "skopeo", "copy", "--insecure-policy", layout, image)
			}
			fixture.MustRun(t, "chmod", "-R", "go=", hidden)
			result := pulled(t, fixture.Run(t, s.bus.Ctl(t, "pull", "--json", image)))
			if result.Reference != "ostree-unverified-image:"+image {
				t.Errorf("stored as %s", result.Reference)
			}
			wantTree(t, s.repo, result.Commit, layers...)
			fixture.MustRun(t, s.bus.Ctl(t).Path, "--address="+s.bus.Address, "prepare", image)
			fixture.MustRun(t, s.bus.Ctl(t).Path, "--address="+s.bus.Address, "diff", image)
		})
	}
	for image, want := range map[string]string{
		"oci:" + hidden + "/nothing:1":        "no such file",
		"oci:" + hidden + "/layout:other":     `"other"`,
		"oci-archive:" + hidden + "/layout:1": "layout",
	} {
		out := fixture.Run(t, s.bus.Ctl(t, "pull", image))
		if out.Code == 0 || !strings.Contains(out.Stderr, want) || strings.Contains(out.Stderr, "ostree-importd-image") {
			t.Errorf("%s exits %d: %s", image, out.Code, out.Stderr)
		}
	}
	if left, err := filepath.Glob("/var/tmp/ostree-importd-image-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// What is written to where only the caller sees it is there.
func TestHiddenDestinations(t *testing.T) {
	hidden, open := t.TempDir(), t.TempDir()
	s := newStage(t, fixture.DaemonOptions{Hidden: []string{hidden}})
	commitSystem(t, s.repo, "1")
	_, image := s.push(t, "1", files("a"))
	pulled(t, fixture.Run(t, s.pull(t, image)))
	var first [2]importer.ExportResult
	for i, dir := range []string{open, hidden} {
		for _, kind := range []string{"tar:%s/o.tar", "squashfs:%s/o.squashfs", "erofs:%s/o.erofs", "oci:%s/o:1", "oci-archive:%s/oci.tar", "dir:%s/dir", "docker-archive:%s/docker.tar:x:1"} {
			to := fmt.Sprintf(kind, dir)
			result := answer[importer.ExportResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "export", image, to)))
			if result.Destination != to {
				t.Errorf("exported to %s, want %s", result.Destination, to)
			}
			if kind == "tar:%s/o.tar" {
				first[i] = result
			}
		}
		s.encapsulate(t, "oci:"+dir+"/encapsulated")
		s.encapsulate(t, "oci-archive:"+dir+"/encapsulated.tar")
	}
	if first[0].Size != first[1].Size || first[1].ConfigFile != hidden+"/o.tar.config.json" {
		t.Errorf("%+v, elsewhere %+v", first[1], first[0])
	}
	again := answer[importer.ExportResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "export", image, "tar:"+hidden+"/o.tar")))
	if !again.Cached {
		t.Errorf("written again: %+v", again)
	}
	fixture.MustRun(t, "diff", "-r", open+"/o", hidden+"/o")
	fixture.MustRun(t, "diff", "-r", open+"/dir", hidden+"/dir")
	fixture.MustRun(t, "test", "-s", hidden+"/docker.tar")
	fixture.MustRun(t, "diff", "-r", open+"/encapsulated", hidden+"/encapsulated")
	for _, name := range []string{"o.tar", "oci.tar", "encapsulated.tar"} {
		fixture.MustRun(t, "cmp", filepath.Join(open, name), filepath.Join(hidden, name))
	}
	out := fixture.Run(t, s.bus.Ctl(t, "export", image, "tar:"+hidden+"/missing/o.tar"))
	if out.Code != 1 || !strings.Contains(out.Stderr, "no such file") {
		t.Errorf("exits %d: %s", out.Code, out.Stderr)
	}
}

// hiddenCalls makes calls that each name something hidden, and gives their errors.
func hiddenCalls(t *testing.T, client *dbus.Client, stored, registry, hidden, open string) map[string]error {
	t.Helper()
	ctx, errs, options := t.Context(), map[string]error{}, daemon.JobOptions{}
	for name, r := range map[string]importer.Request{
		"directory":          {Image: "oci:" + hidden + "/image:1"},
		"docker directory":   {Image: "dir:" + hidden + "/image"},
		"archive":            {Image: "oci-archive:" + hidden + "/image.tar"},
		"docker archive":     {Image: "docker-archive:" + hidden + "/image.tar:x:1"},
		"signed":             {Image: "ostree-image-signed:oci:" + hidden + "/image"},
		"nothing there":      {Image: "oci:" + hidden + "/nothing"},
		"by way of a link":   {Image: "oci:" + open + "/link/image:1"},
		"credentials":        {Image: registry, Access: importer.Access{AuthFile: hidden + "/auth.json"}},
		"certificates":       {Image: registry, Access: importer.Access{CertDir: hidden}},
		"a key":              {Image: registry, Access: importer.Access{DecryptionKeys: []string{hidden + "/key:secret"}}},
		"one of two objects": {Image: stored, Access: importer.Access{AuthFile: hidden + "/auth.json"}},
	} {
		_, errs["import: "+name] = client.Import(ctx, r, options)
		_, errs["prepare: "+name] = client.Prepare(ctx, r, options)
		_, errs["unencapsulate: "+name] = client.Unencapsulate(ctx, importer.UnencapsulateRequest{Image: r.Image, Access: r.Access}, options)
	}
	for _, to := range []string{"tar:%s/o", "squashfs:%s/o", "erofs:%s/o", "oci:%s/o:1", "oci-archive:%s/o.tar", "oci:%s/o"} {
		for _, dir := range []string{hidden, open + "/link"} {
			to := fmt.Sprintf(to, dir)
			_, errs["export to "+to] = client.Export(ctx, importer.ExportRequest{Image: stored, Destination: to}, options)
			_, errs["encapsulate to "+to] = client.Encapsulate(ctx, importer.EncapsulateRequest{Rev: "x", Destination: to}, options)
		}
	}
	_, errs["copy"] = client.Copy(ctx, importer.CopyRequest{Image: stored, Repository: hidden + "/repo"}, options)
	_, errs["prior"] = client.Encapsulate(ctx, importer.EncapsulateRequest{
		Rev: "x", Destination: "oci:" + open + "/o", Prior: "oci:" + hidden + "/image"}, options)
	_, errs["compare"] = client.Compare(ctx, importer.CompareRequest{Image: "oci:" + hidden + "/image:1"})
	_, errs["check for an update"] = client.CheckUpdate(ctx, importer.UpdateRequest{Image: "oci:" + hidden + "/image:1"})
	return errs
}
