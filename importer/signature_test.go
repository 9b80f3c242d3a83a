package importer

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// signingKey signs commits with GPG.
type signingKey struct{ home, id, public string }

func newSigningKey(t testing.TB) signingKey {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // the path of a socket there must be short
	if err != nil {
		t.Fatal(err)
	}
	gpg := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(needs.Tool(t, "gpg"), append([]string{"--batch", "--quiet", "--homedir", home}, args...)...).Output()
		if err != nil {
			t.Fatalf("gpg %s: %v: install it with `apt install gpg gpg-agent`", args, err)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(needs.Tool(t, "gpgconf"), "--homedir", home, "--kill", "all").CombinedOutput(); err != nil {
			t.Errorf("gpgconf: %v: %s", err, out)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	key := signingKey{home: home, public: home + "/public"}
	gpg("--passphrase", "", "--quick-gen-key", "Vendor <vendor@example.com>", "ed25519", "sign", "never")
	for line := range strings.Lines(gpg("--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			key.id = fields[9]
		}
	}
	gpg("--output", key.public, "--export", key.id)
	return key
}

// sign signs the system's commit.
func (s *system) sign(key signingKey) {
	s.Helper()
	s.ostree("gpg-sign", "--gpg-homedir="+key.home, s.commit.String(), key.id)
}

// addRemote makes a remote vouch for what the key has signed.
func (h *testHost) addRemote(name string, key signingKey) {
	h.Helper()
	h.ostree("remote", "add", "--gpg-import="+key.public, name, "https://nowhere.invalid/")
}

const remoteName = "ostree-remote-image:vendor:" + testName

func TestRemoteSignature(t *testing.T) {
	key, other := newSigningKey(t), newSigningKey(t)
	cases := []struct {
		name    string
		signed  []signingKey
		prepare func(h *testHost, s *system, image *testImage) *testImage
		want    string // of the refusal
		fetched []int  // layers
	}{
		{name: "good", signed: []signingKey{key}, fetched: []int{0, 1, 2, 3}},
		{name: "one of two", signed: []signingKey{other, key}, fetched: []int{0, 1, 2, 3}},
		{name: "another's", signed: []signingKey{other}, want: "public key not found", fetched: []int{0}},
		{name: "none", want: "no detached metadata", fetched: []int{0}},
		{name: "stored without being checked", signed: []signingKey{key}, prepare: func(h *testHost, _ *system, image *testImage) *testImage {
			h.mustPull(Request{Image: testName})
			return image
		}},
		{name: "stored though another's", signed: []signingKey{other}, want: "public key not found", fetched: []int{0}, prepare: func(h *testHost, _ *system, image *testImage) *testImage {
			h.mustPull(Request{Image: testName})
			return image
		}},
		{name: "signed later", want: "", fetched: []int{0}, prepare: func(h *testHost, s *system, image *testImage) *testImage {
			h.mustPull(Request{Image: testName})
			s.sign(key)
			return s.image(2, []string{"f usr/app 1"})
		}},
		{name: "a plain image", want: "holds no OSTree commit", prepare: func(*testHost, *system, *testImage) *testImage { return twoLayers(t) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t, plainSystem)
			for _, k := range c.signed {
				s.sign(k)
			}
			image := s.image(2, []string{"f usr/app 1"})
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			h.addRemote("vendor", key)
			if c.prepare != nil {
				image = c.prepare(h, s, image)
				h.registry.images[testName] = image
			}
			refs := h.refs()
			h.registry.requested()
			res, err := h.pull(Request{Image: remoteName})
			var fetched []digest.Digest
			for _, i := range c.fetched {
				fetched = append(fetched, image.manifest.Layers[i].Digest)
			}
			if got := h.registry.blobs; !sameDigests(got, fetched) {
				t.Errorf("fetched %v, want %v", got, fetched)
			}
			if c.want != "" {
				if KindOf(err) != KindSignatureRejected || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v (kind %s), want %s", err, KindOf(err), c.want)
				}
				h.checkClean(refs)
				return
			}
			h.must(err)
			stored, err := h.im.Image(context.Background(), testName)
			h.must(err)
			if !strings.Contains(res.VerifyText, "Good signature") || stored.VerifyText != res.VerifyText || *res.BaseCommit != s.commit.String() {
				t.Errorf("result %+v, stored %+v", res, stored)
			}
			h.checkClean(h.refs())
			if res := h.mustPull(Request{Image: remoteName}); !res.AlreadyPresent || res.VerifyText != stored.VerifyText {
				t.Errorf("second import %+v", res)
			}
		})
	}
}

func sameDigests(a, b []digest.Digest) bool {
	seen := map[digest.Digest]bool{}
	for _, d := range a {
		seen[d] = true
	}
	for _, d := range b {
		if !seen[d] {
			return false
		}
	}
	return len(a) == len(b)
}

// TestSignatureTextIsNoDetachedMetadata: what the check says is told of the image, and what others
// have put into the detached metadata of its commit stays as it is.
func TestSignatureTextIsNoDetachedMetadata(t *testing.T) {
	key := newSigningKey(t)
	s := newSystem(t, plainSystem)
	s.sign(key)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, s.image(0)))
	h.addRemote("vendor", key)
	commit := h.mustPull(Request{Image: testName}).Commit
	want := "none"
	for range 3 {
		text := h.mustPull(Request{Image: remoteName}).VerifyText
		image, err := h.im.Image(t.Context(), testName)
		h.must(err)
		if image.VerifyText != text || text == "" {
			t.Errorf("the check said %q, of the image is told %q", text, image.VerifyText)
		}
		if got := h.detached(commit); got != want {
			t.Errorf("the detached metadata hold %s, want %s", got, want)
		}
		want = "other"
		h.setDetached(testRef, objects.Dict{want: objects.String("kept")})
		h.ostree("refs", "--delete", testRef) // the commit is merged again
	}
}

// TestStrictPolicy: the policy is asked of the source, so an image that is stored is opened as
// well.
func TestStrictPolicy(t *testing.T) {
	image := twoLayers(t)
	name := "docker://example.com/os@" + image.digest.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, image))
	path := t.TempDir() + "/policy.json"
	h.im.policy = signature.Environment{Variable: func(name string) string {
		if name == "CONTAINERS_POLICY_JSON" {
			return path
		}
		return ""
	}}
	writeFile(t, path, []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`))
	if _, err := h.pull(Request{Image: "ostree-image-signed:" + name}); KindOf(err) != KindSignatureRejected || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want kind SignatureRejected", err)
	}
	if len(h.registry.opened) > 0 {
		t.Errorf("opened %v", h.registry.opened)
	}
	writeFile(t, path, []byte(`{"default": [{"type": "reject"}], "transports": {}}`))
	for i := range 2 {
		res := h.mustPull(Request{Image: "ostree-image-signed:" + name})
		if res.AlreadyPresent != (i == 1) || len(h.registry.opened) != i+1 {
			t.Errorf("pull %d: %+v after opening %v", i, res, h.registry.opened)
		}
	}

	// A policy that has become lax counts before the commit inside an image is imported,
	const system = "docker://example.com/system:1"
	h.registry.images[system] = newSystem(t, plainSystem).image(0)
	p, err := h.im.Prepare(t.Context(), Request{Image: "ostree-image-signed:" + system})
	h.must(err)
	writeFile(t, path, []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`))
	refs := h.refs()
	if _, err := p.Import(t.Context(), nil); KindOf(err) != KindSignatureRejected {
		t.Errorf("error %v, want kind SignatureRejected", err)
	}
	h.must(p.Close())
	h.checkClean(refs)

	// and when the source is opened again.
	writeFile(t, path, []byte(`{"default": [{"type": "reject"}], "transports": {}}`))
	p, err = h.im.Prepare(t.Context(), Request{Image: "ostree-image-signed:" + name, Target: "docker://example.com/other:1"})
	h.must(err)
	plan := p.Plan()
	h.must(p.Close())
	h.ostree("refs", "--delete", plan.Layers[0].Ref)
	writeFile(t, path, []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`))
	resumed := h.im.Resume(plan)
	if _, err := resumed.Import(t.Context(), nil); KindOf(err) != KindSignatureRejected {
		t.Errorf("error %v, want kind SignatureRejected", err)
	}
	h.must(resumed.Close())
}
