package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// Damage is found, named by layer and path, and mended by fetching that layer again, and no other.
func TestVerifyAndRepair(t *testing.T) {
	d := newDerived(t)
	host := newStageFor(t, d.stage)
	plain, other := host.pushTwo(t)
	for _, reference := range []string{d.derived, plain, other} {
		pulled(t, fixture.Run(t, host.pull(t, reference)))
	}
	layers := func(reference string) []importer.ImageLayer { return host.show(t, reference).Layers }
	verify := func(args ...string) (fixture.Output, importer.VerifyResult) {
		t.Helper()
		out := fixture.Run(t, host.bus.Ctl(t, append([]string{"--json", "verify", "--tls-verify=false"}, args...)...))
		return out, decode[importer.VerifyResult](t, out.Stdout)
	}
	if out, result := verify(); out.Code != 0 || result.Count(importer.StateGood) != 3 || result.Objects == 0 {
		t.Fatalf("of sound images verify exits %d and says %+v", out.Code, result)
	}
	for _, test := range []struct {
		name, image, path string
		layer             importer.ImageLayer // that the damage is said to be in, and that is fetched again
		damaged           int                 // images
	}{
		{"a plain layer", plain, "usr/first", layers(plain)[1], 1},
		{"a layer of two images", plain, "usr/shared", layers(plain)[0], 2},
		{"a derived layer", d.derived, "usr/etc/hello.d/second", layers(d.derived)[systemLayers+1], 1},
		{"a chunk", d.derived, "usr/lib/library.so", layerWith(t, d, host, "library"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			flipBit(t, host.repo, host.show(t, test.image).Commit, test.path)
			out, result := verify()
			if out.Code != 1 || result.Count(importer.StateDamaged) != test.damaged {
				t.Fatalf("verify exits %d and says %s", out.Code, out.Stdout)
			}
			for _, image := range result.Images {
				if image.State == importer.StateDamaged && !names(image, test.layer.Digest, test.path) {
					t.Errorf("the damage of %s is %+v, want %s of layer %s", image.Reference, image.Damage, test.path, test.layer.Digest)
				}
			}
			if out := fixture.Run(t, host.bus.Ctl(t, "verify", test.image)); out.Code != 1 || !strings.Contains(out.Stdout, test.path) ||
				!strings.Contains(out.Stdout, test.layer.Digest.Encoded()[:12]) || !strings.Contains(out.Stderr, "--repair") {
				t.Errorf("verify exits %d and prints\n%s%s", out.Code, out.Stdout, out.Stderr)
			}
			host.gateway.Fetched()
			if out, result = verify("--repair"); out.Code != 0 || result.Count(importer.StateRepaired) != test.damaged {
				t.Errorf("verify --repair exits %d and says %s%s", out.Code, out.Stdout, out.Stderr)
			}
			fetched := host.gateway.Fetched()
			for _, l := range layers(test.image) {
				if l.Digest != test.layer.Digest && l.Kind != "ostree-commit" && fetched[l.Digest] > 0 { // ostree takes the commit for incomplete
					t.Errorf("the sound layer %s was fetched", l.Digest)
				}
			}
			if fetched[test.layer.Digest] != 1 {
				t.Errorf("the damaged layer was fetched %d times", fetched[test.layer.Digest])
			}
			if out, result := verify(); out.Code != 0 || result.Count(importer.StateGood) != 3 {
				t.Errorf("after the repair verify exits %d and says %s", out.Code, out.Stdout)
			}
			fixture.Fsck(t, host.repo)
		})
	}
}

// What can't be mended stays damaged, and is said to be.
func TestRepairFromABadOrigin(t *testing.T) {
	s := newSharing(t)
	flipBit(t, s.repo, s.show(t, s.one).Commit, "usr/first")
	s.gateway.Spoil(s.first.Layers[1].Digest, fixture.FlipByte)
	out := fixture.Run(t, s.bus.Ctl(t, "--json", "verify", "--tls-verify=false", "--repair", s.one))
	if result := decode[importer.VerifyResult](t, out.Stdout); out.Code != 1 || result.Count(importer.StateDamaged) != 1 {
		t.Errorf("verify --repair exits %d and says %s%s", out.Code, out.Stdout, out.Stderr)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "--json", "verify", s.two)); out.Code != 0 {
		t.Errorf("the other image suffers from it: %s%s", out.Stdout, out.Stderr)
	}
}

// pushTwo puts two plain images into the registry that share their first layer.
func (s *stage) pushTwo(t *testing.T) (first, second string) {
	t.Helper()
	_, first = s.push(t, "first", files("shared"), files("first"))
	_, second = s.push(t, "second", files("shared"), files("second"))
	return first, second
}

// layerWith is the layer of the derived image that the builder named so.
func layerWith(t *testing.T, d derived, host *stage, name string) importer.ImageLayer {
	t.Helper()
	for i, l := range d.made.Layers {
		if strings.Contains(l.Name, name) {
			return host.show(t, d.derived).Layers[i]
		}
	}
	t.Fatalf("no layer is for %s: %+v", name, d.made.Layers)
	return importer.ImageLayer{}
}

func names(image importer.VerifiedImage, layer digest.Digest, path string) bool {
	for _, damage := range image.Damage {
		if damage.Layer == layer && damage.Path == "/"+path && damage.Problem != "" {
			return true
		}
	}
	return false
}

// objectAt gives the file of a file of a commit in a repository of mode bare-user.
func objectAt(t *testing.T, repo *ostreerepo.Repo, commit, path string) string {
	t.Helper()
	checksum, err := objects.ParseChecksum(commit)
	if err != nil {
		t.Fatal(err)
	}
	c, err := repo.Commit(checksum)
	if err != nil {
		t.Fatal(err)
	}
	found, err := ostreerepo.Lookup(repo, c.Tree, path)
	if err != nil || !found.Exists() {
		t.Fatalf("no %s in %s: %v", path, commit, err)
	}
	sum := found.File.String()
	return filepath.Join(repo.Path(), "objects", sum[:2], sum[2:]+".file")
}

// flipBit changes a bit of a file of a commit in a repository of mode bare-user.
func flipBit(t *testing.T, repo *ostreerepo.Repo, commit, path string) {
	t.Helper()
	f, err := os.OpenFile(objectAt(t, repo, commit, path), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	one := make([]byte, 1)
	if _, err := f.ReadAt(one, 3); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 1
	if _, err := f.WriteAt(one, 3); err != nil {
		t.Fatal(err)
	}
}
