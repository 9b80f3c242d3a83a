package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// derive adds the image "derived", with two layers more than "base", to a layout, as a container
// build does that unpacks an image and packs what has changed.
func derive(t *testing.T, layout string) {
	t.Helper()
	fixture.Tool(t, "setfattr")
	bundle := filepath.Join(t.TempDir(), "bundle")
	fixture.MustRun(t, "umoci", "unpack", "--image", layout+":base", bundle)
	for _, script := range []string{`
		echo '#!/bin/sh' >usr/bin/hello; chmod 4755 usr/bin/hello
		ln usr/bin/hello usr/bin/hello-again
		mkdir etc/hello.d; echo first >etc/hello.d/first
		rm -r usr/share/doc
		# A file that the base has as a hard link to an object.
		echo changed >>usr/lib/os-release
	`, `
		rm etc/hello.d/first; echo second >etc/hello.d/second
		: >etc/hostname; : >etc/resolv.conf
		chmod 700 usr/share/open
		setfattr -n user.note -v two usr/bin/hello
	`} {
		shell := exec.Command("sh", "-euc", script)
		shell.Dir = filepath.Join(bundle, "rootfs")
		if out := fixture.Run(t, shell); out.Code != 0 {
			t.Fatalf("the build exits %d: %s", out.Code, out.Stderr)
		}
		fixture.MustRun(t, "umoci", "repack", "--refresh-bundle", "--image", layout+":derived", bundle)
	}
}

// upload copies an image of a layout to the registry and gives the reference to pull it by.
func (s *stage) upload(t *testing.T, layout, tag string) string {
	t.Helper()
	fixture.MustRun(t, "skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false",
		"oci:"+layout+":"+tag, fmt.Sprintf("docker://%s/os:%s", s.registry.Host, tag))
	return s.reference(tag)
}

// derived is a stage with an encapsulated image and one that is derived from it in the registry,
// and nothing but the commit in the repository.
type derived struct {
	*stage
	commit        string
	made          importer.EncapsulateResult
	base, derived string // references
}

func newDerived(t *testing.T) derived {
	t.Helper()
	s := newStage(t, fixture.DaemonOptions{})
	layout := filepath.Join(t.TempDir(), "layout")
	d := derived{stage: s, commit: commitSystem(t, s.repo, "1"), made: s.encapsulate(t, "oci:"+layout+":base")}
	derive(t, layout)
	d.base, d.derived = s.upload(t, layout, "base"), s.upload(t, layout, "derived")
	return d
}

// A derived image shares its base with others, and is the same whether the base was there before or
// not.
func TestPullDerived(t *testing.T) {
	d := newDerived(t)
	host := newStageFor(t, d.stage)
	base := pulled(t, fixture.Run(t, host.pull(t, d.base)))
	d.gateway.Fetched()
	result := pulled(t, fixture.Run(t, host.pull(t, d.derived)))
	fetched := d.gateway.Fetched()
	if len(result.Layers) != len(base.Layers)+2 {
		t.Fatalf("%d layers, want two more than %d", len(result.Layers), len(base.Layers))
	}
	for i, layer := range result.Layers {
		if want := i >= len(base.Layers); want != (fetched[layer.Digest] == 1) || want == layer.Cached {
			t.Errorf("layer %d was fetched %d times, cached %t", i+1, fetched[layer.Digest], layer.Cached)
		}
	}
	for _, r := range []importer.Result{base, result} {
		if r.BaseCommit == nil || *r.BaseCommit != d.commit {
			t.Errorf("the base commit of %s is %v, want %s", r.Reference, r.BaseCommit, d.commit)
		}
	}
	checkDerived(t, host.repo, result.Commit)
	fixture.Fsck(t, host.repo)

	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeArchive} {
		alone := fixture.NewRepo(t, mode)
		whole := pulled(t, fixture.Run(t, local(t, alone.Path(), "--json", "pull", "--tls-verify=false", d.derived)))
		if whole.Commit != result.Commit {
			t.Errorf("pulled at once, with mode %s, the image is %s; after its base it is %s", mode, whole.Commit, result.Commit)
		}
	}
}

// checkDerived looks at what the layers of derive have done.
func checkDerived(t *testing.T, repo *ostreerepo.Repo, commit string) {
	t.Helper()
	nodes, err := fixture.ReadCommit(repo, commit)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"usr/bin/hello": true, "usr/bin/hello-again": true, "usr/etc/hello.d/second": true, "usr/etc/hello.d/first": false, "etc": false,
		"usr/share/doc": false, "usr/etc/hostname": false, "usr/etc/resolv.conf": false, "usr/bin/tool": true, "sysroot/ostree": false,
	} {
		if _, got := nodes[path]; got != want {
			t.Errorf("%s is in the commit: %t, want %t", path, got, want)
		}
	}
	if got := string(nodes["usr/lib/os-release"].Content); got != "VERSION=1\nchanged\n" {
		t.Errorf("the changed file of the base is %q", got)
	}
	for path, want := range map[string]int64{"usr/bin/hello": 0o4755, "usr/bin/su": 0o4755, "usr/share/open": 0o700, "usr/etc/keys": 0o700} {
		if got := nodes[path].Mode; int64(got) != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	for path, want := range map[string]string{"usr/bin/hello": "two", "usr/bin/hello-again": "two", "usr/bin/ping": "a=b", "usr/bin/same": "a=b"} {
		if got := nodes[path].Xattrs["user.note"]; got != want {
			t.Errorf("%s has the note %q, want %q", path, got, want)
		}
	}
	if got := nodes["usr/bin/slashes"].Target; got != "..//lib//library.so" {
		t.Errorf("the link with slashes points to %q", got)
	}
}

// What is more than a commit isn't reduced to it, nor is what holds none; and busctl tells why.
func TestUnencapsulateRefuses(t *testing.T) {
	d := newDerived(t)
	_, plain := d.push(t, "plain", files("a"))
	for _, test := range []struct{ name, reference, says string }{
		{"derived", d.derived, "2 layers above"},
		{"plain", plain, "no OSTree commit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := fixture.Refs(t, d.repo)
			d.gateway.Fetched()
			out := fixture.Run(t, d.bus.Ctl(t, "unencapsulate", "--tls-verify=false", "--ref=os", test.reference))
			if out.Code != 1 || !strings.Contains(out.Stderr, test.says) {
				t.Errorf("exits %d: %s", out.Code, out.Stderr)
			}
			if out := d.busctl(t, "call", managerPath, managerInterface, "Unencapsulate", "sa{sv}", test.reference,
				"2", "wait", "b", "true", "insecure-skip-tls-verification", "b", "true"); out.Code == 0 || !strings.Contains(out.Stderr, test.says) {
				t.Errorf("busctl exits %d: %s", out.Code, out.Stderr)
			}
			property := d.busctl(t, "get-property", fmt.Sprintf("%s/job/_%d", managerPath, lastJob(t, d.stage).ID), dbus.BusName+".Job", "ErrorName")
			if want := `s "` + dbus.BusName + `.Error.NotEncapsulated"` + "\n"; property.Stdout != want {
				t.Errorf("the job's error is %s%s, want %s", property.Stdout, property.Stderr, want)
			}
			fetched := d.gateway.Fetched()
			for _, layer := range d.made.Layers {
				if fetched[layer.Digest] > 0 {
					t.Errorf("layer %s was fetched", layer.Digest)
				}
			}
			wantUnchanged(t, d.stage, before)
		})
	}
	// The daemon does it with the image that holds only the commit.
	host := newStageFor(t, d.stage)
	got := answer[importer.UnencapsulateResult](t, fixture.Run(t, host.bus.Ctl(t, "--json", "unencapsulate", "--tls-verify=false", "--ref=os", d.base)))
	if got.Commit != d.commit || got.Ref != "os" || got.LayersFetched != systemLayers {
		t.Errorf("the result is %+v", got)
	}
	fixture.Fsck(t, host.repo)
}

const (
	managerPath      = "/org/ostree/import1"
	managerInterface = dbus.BusName + ".Manager"
)

// busctl runs busctl with a verb on the daemon.
func (s *stage) busctl(t *testing.T, verb string, args ...string) fixture.Output {
	t.Helper()
	return fixture.Run(t, exec.Command(fixture.Tool(t, "busctl"),
		append([]string{"--address=" + s.bus.Address, "--timeout=60", verb, dbus.BusName}, args...)...))
}
