package collect_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/collect"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// newSysroot is newStore of the repository of a sysroot, in a path that is no pattern.
func newSysroot(t *testing.T) *store {
	t.Helper()
	needs.Tool(t, "ostree")
	path := filepath.Join(t.TempDir(), "sys[r]oot*/ostree/repo")
	repo, err := ostreerepo.Create(t.Context(), path, ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &store{T: t, repo: repo}
}

// deploy makes a deployment of a commit as ostree's sysroots have them, with the text of its
// origin.
func (s *store) deploy(commit objects.Checksum, origin string) {
	s.Helper()
	dir := filepath.Join(filepath.Dir(s.repo.Path()), "deploy/os/deploy", commit.String()+".0")
	s.must(os.MkdirAll(dir, 0o755))
	s.must(os.WriteFile(dir+".origin", []byte(origin), 0o644))
}

// child records a commit of no image that is built on another one.
func (s *store) child(ref string, parent objects.Checksum) objects.Checksum {
	s.Helper()
	return s.commitOn(parent, ref, objects.Dict{"name": objects.String(ref)})
}

func TestDeploymentsUseImages(t *testing.T) {
	const image = "docker://registry.example.com/os:1"
	nothing := objects.ChecksumOf([]byte("no commit here"))
	for _, test := range []struct {
		name string
		make func(s *store)
		use  string // "" for none
	}{
		{"none", func(s *store) { s.image(image, 1, "a") }, ""},
		{"a ref of its commit", func(s *store) {
			s.image(image, 1, "a")
			s.commit("ostree/0/1/0", metadata(s.T, 1, "a"))
		}, "the deployment ostree/0/1/0 is its commit"},
		{"a ref of the other bootversion", func(s *store) {
			s.image(image, 1, "a")
			s.commit("ostree/1/0/1", metadata(s.T, 1, "a"))
		}, "the deployment ostree/1/0/1 is its commit"},
		{"a ref of another commit with its manifest", func(s *store) {
			s.image(image, 1, "a")
			d := metadata(s.T, 1, "a")
			d["more"] = objects.String("of another version of the importer")
			s.commit("ostree/0/1/0", d)
		}, "the deployment ostree/0/1/0 has its manifest"},
		{"packages layered on it", func(s *store) {
			s.child("ostree/0/1/0", s.image(image, 1, "a"))
		}, "the deployment ostree/0/1/0 is built on it"},
		{"rpm-ostree's base commit", func(s *store) {
			s.commit("rpmostree/base/0", metadata(s.T, 1, "a"))
			s.image(image, 1, "a")
		}, "the base commit rpmostree/base/0 is its commit"},
		{"the commit inside it", func(s *store) {
			base := s.commit("ostree/0/1/0", objects.Dict{"version": objects.String("1")})
			s.commitOn(base, imageRef(s.T, image), metadata(s.T, 1, "a"))
		}, "the deployment ostree/0/1/0 is the commit in it"},
		{"another image on the same base", func(s *store) {
			base := s.commit("os/stable", objects.Dict{"version": objects.String("1")})
			s.commitOn(base, imageRef(s.T, image), metadata(s.T, 1, "a"))
			s.commitOn(base, "ostree/0/1/0", metadata(s.T, 2, "b"))
		}, ""},
		{"a directory of its commit, without a ref", func(s *store) {
			s.deploy(s.image(image, 1, "a"), "[origin]\nrefspec=os/stable\n")
		}, ".0 of os is its commit"},
		{"an origin", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example.com/os:1\n")
		}, ".0 of os names it as its origin"},
		{"an origin that asks for signatures", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "# made by hand\n[origin]\ncontainer-image-reference = ostree-image-signed:"+image+"\n[libostree]\n")
		}, ".0 of os names it as its origin"},
		{"an origin of another tag", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example.com/os:2\n")
		}, ""},
		{"an origin that says it elsewhere", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "[other]\ncontainer-image-reference=ostree-unverified-registry:registry.example.com/os:1\n")
		}, ""},
		{"an origin that nobody understands", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "[origin]\ncontainer-image-reference=foo:\n")
		}, ""},
		{"an origin beyond what is looked at", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, strings.Repeat("#\n", 40<<10)+"[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example.com/os:1\n")
		}, ""},
		{"an origin of a deployment that is gone", func(s *store) {
			s.image(image, 1, "a")
			s.deploy(nothing, "[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example.com/os:1\n")
			s.must(os.Remove(filepath.Join(filepath.Dir(s.repo.Path()), "deploy/os/deploy", nothing.String()+".0")))
		}, ""},
		{"a pin", func(s *store) {
			s.image(image, 1, "a")
			s.commit(collect.PinPrefix+"/mine", metadata(s.T, 1, "a"))
		}, ""},
		{"a broken ref", func(s *store) {
			s.image(image, 1, "a")
			s.commit("ostree/0/1/0", metadata(s.T, 1, "a"))
			s.land()
			s.must(os.WriteFile(filepath.Join(s.repo.Path(), "refs/heads/ostree/0/1/0"), []byte("nothing\n"), 0o644))
		}, ""},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			s := newSysroot(t)
			test.make(s)
			s.land()
			deployments, err := collect.FindDeployments(s.repo)
			s.must(err)
			ref := imageRef(t, image)
			commit, err := s.repo.Resolve(ref)
			s.must(err)
			if used := deployments.Use(ref, commit); !strings.HasSuffix(used, test.use) || (used == "") != (test.use == "") {
				t.Errorf("used: %q, want %q", used, test.use)
			}
			// A collection keeps it then, whatever the policy.
			decisions, err := collect.Decide(t.Context(), s.repo, collect.Policy{Undeployed: true})
			s.must(err)
			for _, d := range decisions {
				pinned := test.name == "a pin"
				if d.Image && d.Name == image && d.Delete != (test.use == "" && !pinned) {
					t.Errorf("collected %v because %s", d.Delete, d.Reason)
				}
			}
		})
	}
}

// TestDeploymentsOfNoSysroot: beside a repository that is no sysroot's there is nothing to look
// for.
func TestDeploymentsOfNoSysroot(t *testing.T) {
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "other"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &store{T: t, repo: repo}
	commit := s.image("docker://example.com/os:1", 1, "a")
	s.deploy(commit, "[origin]\n")
	s.land()
	deployments, err := collect.FindDeployments(repo)
	s.must(err)
	if use := deployments.Use(reference.ImagePrefix+"/none", commit); use != "" {
		t.Errorf("%q", use)
	}
}
