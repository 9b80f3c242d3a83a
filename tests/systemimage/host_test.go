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

// TestHostImage takes a commit that a host could boot through its life as an image: encapsulated,
// derived from twice by a container build, pushed, and pulled by another host.
func TestHostImage(t *testing.T) {
	host := hostCommit(t)
	origin := strings.TrimSpace(fixture.MustRun(t, "ostree", "--repo="+host, "rev-parse", "host"))
	work := fixture.PublicDir(t)
	layout := filepath.Join(work, "oci")

	builder := fixture.StartBus(t, fixture.DaemonOptions{Repo: host})
	started := time.Now()
	image := encapsulate(t, builder, "oci:"+layout+":base")
	t.Logf("encapsulate: %.1f s, %d layers by %s", time.Since(started).Seconds(), len(image.Layers), image.Chunking)
	if len(image.Layers) < 10 || image.Chunking != "dpkg" {
		t.Errorf("%d layers by %s, want chunks by package", len(image.Layers), image.Chunking)
	}
	again := encapsulate(t, builder, "oci:"+filepath.Join(work, "again")+":base")
	if again.ManifestDigest != image.ManifestDigest {
		t.Errorf("encapsulated again the commit is %s, not %s", again.ManifestDigest, image.ManifestDigest)
	}
	derive(t, layout)

	registry := fixture.StartRegistry(t)
	h := newHost(t)
	base := h.pull(t, push(t, registry, layout, "base"))
	if base.BaseCommit == nil || *base.BaseCommit != origin {
		t.Fatalf("the base commit is %v, want %s", base.BaseCommit, origin)
	}
	started = time.Now()
	result := h.pull(t, push(t, registry, layout, "derived"))
	t.Logf("pull of the derived image: %.1f s, %d layers, %.1f MB", time.Since(started).Seconds(), len(result.Layers), float64(result.BytesFetched)/1e6)
	for _, layer := range result.Layers[:len(base.Layers)] {
		if !layer.Cached {
			t.Errorf("the layer %s of the base was fetched again", layer.Digest)
		}
	}
	if result.BaseCommit == nil || *result.BaseCommit != origin {
		t.Errorf("the base commit is %v, want %s", result.BaseCommit, origin)
	}
	fixture.Fsck(t, h.repo)
	checkDerived(t, h, result.Commit)
	compareLabels(t, h.repo, result.Commit)

	alone := newHost(t)
	whole := alone.pull(t, push(t, registry, layout, "derived"))
	if whole.Commit != result.Commit {
		t.Errorf("pulled at once the image is %s, after its base %s", whole.Commit, result.Commit)
	}
	policy := h.pull(t, push(t, registry, layout, "policy"))
	fixture.Fsck(t, h.repo)
	compareLabels(t, h.repo, policy.Commit)
	if label := h.label(t, policy.Commit, "/usr/bin/bash"); !strings.Contains(label, "bin_t") {
		t.Errorf("a layer changes the policy of /usr/bin/bash, whose label is %s", label)
	}
}

// hostCommit is the path of the repository that host.sh makes.
func hostCommit(t testing.TB) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "./host.sh")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("host.sh: %v", err)
	}
	return strings.TrimSpace(string(output))
}

func encapsulate(t testing.TB, bus *fixture.Bus, destination string) importer.EncapsulateResult {
	t.Helper()
	output := fixture.Run(t, bus.Ctl(t, "--quiet", "--json", "encapsulate", "host", destination))
	var result importer.EncapsulateResult
	if err := json.Unmarshal([]byte(output.Stdout), &result); err != nil || output.Code != 0 {
		t.Fatalf("encapsulate exits %d (%v): %s%s", output.Code, err, output.Stdout, output.Stderr)
	}
	return result
}

// derive makes the images "derived", with two layers more than "base", and "policy", with a third
// that changes the SELinux policy, as a container build does that unpacks the image and packs what
// has changed.
func derive(t testing.TB, layout string) {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	root := filepath.Join(bundle, "rootfs")
	shell := func(script string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "sh", "-euc", script)
		command.Dir = root
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	layer := func(tag string) {
		t.Helper()
		fixture.MustRun(t, "umoci", "repack", "--refresh-bundle", "--image", layout+":"+tag, bundle)
	}
	fixture.MustRun(t, "umoci", "unpack", "--image", layout+":base", bundle)
	shell(`
		echo '#!/bin/sh' >usr/bin/hello; chmod 755 usr/bin/hello
		ln usr/bin/hello usr/bin/hello-again
		mkdir -p usr/lib/systemd/system etc/hello.d opt-like
		echo '[Unit]' >usr/lib/systemd/system/hello.service
		echo greeting >etc/hello.d/conf
		rm -r usr/share/doc/bash
		# A file that the base has as a hard link to an object.
		echo changed >>usr/lib/os-release
	`)
	layer("derived")
	shell(`
		rm etc/hello.d/conf; echo second >etc/hello.d/second
		: >etc/hostname; : >etc/resolv.conf
		chmod 700 usr/lib/systemd/system
		setcap cap_net_raw+ep usr/bin/hello
	`)
	layer("derived")
	fixture.MustRun(t, "umoci", "tag", "--image", layout+":derived", "policy")
	shell(`echo '/usr/bin/bash -- system_u:object_r:bin_t:s0' >>etc/selinux/default/contexts/files/file_contexts.local`)
	layer("policy")
}

// checkDerived looks at what the layers of derive have done.
func checkDerived(t *testing.T, h host, commit string) {
	t.Helper()
	list := fixture.MustRun(t, "ostree", "--repo="+h.repo.Path(), "ls", "-R", commit)
	for path, want := range map[string]bool{
		"/usr/bin/hello": true, "/usr/bin/hello-again": true, "/usr/etc/hello.d/second": true, "/usr/etc/hello.d/conf": false,
		"/usr/share/doc/bash": false, "/usr/etc/hostname": false, "/usr/etc/resolv.conf": false, "/opt-like": true,
		"/sysroot/ostree": false, "/usr/lib/systemd/system/hello.service": true,
	} {
		if got := strings.Contains(list+"\n", " "+path+"\n"); got != want {
			t.Errorf("%s: in the commit %v, want %v", path, got, want)
		}
	}
	if text := fixture.MustRun(t, "ostree", "--repo="+h.repo.Path(), "cat", commit, "/usr/lib/os-release"); !strings.HasSuffix(text, "changed\n") {
		t.Errorf("the changed file of the base is %q", text)
	}
}

// compareLabels fails if ostree gives any file of a commit another label by the commit's own
// policy.
func compareLabels(t *testing.T, repo *ostreerepo.Repo, commit string) {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy")
	if err := os.MkdirAll(filepath.Join(policy, "usr/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "checkout", "--user-mode", "--subpath=/usr/etc/selinux", commit, filepath.Join(policy, "usr/etc/selinux"))
	relabelled := strings.TrimSpace(fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "commit", "--orphan", "--selinux-policy="+policy, "--tree=ref="+commit))
	want, got := labels(t, repo, relabelled), labels(t, repo, commit)
	differences := 0
	for path, label := range want {
		if got[path] == label {
			continue
		}
		if differences++; differences <= shown {
			t.Errorf("%s is labelled %q, by ostree %q", path, got[path], label)
		}
	}
	t.Logf("%d labels compared, %d differences", len(want), differences)
	if len(want) < 10000 || len(want) != len(got) {
		t.Errorf("%d paths, %d with ostree", len(got), len(want))
	}
}

// labels gives the label of every path of a commit.
func labels(t *testing.T, repo *ostreerepo.Repo, commit string) map[string]string {
	t.Helper()
	nodes, err := fixture.ReadCommit(repo, commit)
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string]string, len(nodes))
	for path, node := range nodes {
		labels["/"+path] = node.Xattrs["security.selinux"]
	}
	return labels
}

// label is the label of one path.
func (h host) label(t *testing.T, commit, path string) string {
	t.Helper()
	return labels(t, h.repo, commit)[path]
}
