package importer

import (
	"context"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

func TestUnencapsulate(t *testing.T) {
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSystem(t, plainSystem)
			image := s.image(2)
			h := newHost(t, mode, newRegistry(testName, image))
			res, err := h.im.Unencapsulate(context.Background(), UnencapsulateRequest{Image: testName, Ref: "vendor/os/stable"}, nil)
			h.must(err)
			if res.Commit != s.commit.String() || res.Ref != "vendor/os/stable" || res.ManifestDigest != image.digest || res.LayersFetched != 3 ||
				res.BytesFetched == 0 || res.Version != "1.2" || res.VerifyText != "" {
				t.Errorf("result %+v", res)
			}
			if got, want := h.ostree("ls", "-R", "-C", "vendor/os/stable"), s.ostree("ls", "-R", "-C", "os"); got != want {
				t.Errorf("the tree is\n%s\nwant\n%s", got, want)
			}
			if refs := h.refs(); strings.Contains(refs, "container/") {
				t.Errorf("refs are %s", refs)
			}
			h.checkClean(h.refs())

			// Without a ref, and where the layers are to be kept, they stay.
			for _, req := range []UnencapsulateRequest{{Image: testName}, {Image: testName, Ref: "kept", SkipGC: true}} {
				_, err = h.im.Unencapsulate(context.Background(), req, nil)
				h.must(err)
				if refs := h.refs(); strings.Contains(refs, "container/image") || strings.Count(refs, "container/blob") != 3 {
					t.Errorf("refs are %s", refs)
				}
			}

			// All is there: another ref needs no layer, nor does the image.
			h.registry.requested()
			res, err = h.im.Unencapsulate(context.Background(), UnencapsulateRequest{Image: testName, Ref: "other", SkipGC: true}, nil)
			h.must(err)
			if res.LayersFetched != 0 || strings.TrimSpace(h.ostree("rev-parse", "other")) != s.commit.String() {
				t.Errorf("result %+v", res)
			}
			h.mustPull(Request{Image: testName})
			if n := h.registry.requested(); n != 0 {
				t.Errorf("%d layers were fetched", n)
			}
		})
	}
}

func TestUnencapsulateRefusals(t *testing.T) {
	s, key := newSystem(t, plainSystem), newSigningKey(t)
	cases := []struct {
		name  string
		image *testImage
		req   UnencapsulateRequest
		kind  Kind
		want  string
	}{
		{"plain image", twoLayers(t), UnencapsulateRequest{}, KindNotEncapsulated, "holds no OSTree commit"},
		{"layers above", s.image(1, []string{"f a 1"}, []string{"f b 1"}), UnencapsulateRequest{}, KindNotEncapsulated, "2 layers above"},
		{"another digest", s.image(1), UnencapsulateRequest{Digest: digest.FromString("x")}, KindManifestMismatch, "is required"},
		{"no ref", s.image(1), UnencapsulateRequest{Ref: "a:b"}, KindInvalidOption, "can't be the name of a ref"},
		{"an image's ref", s.image(1), UnencapsulateRequest{Ref: "ostree/container/image/x"}, KindInvalidOption, "images, layers and deployments"},
		{"a ref in a ref", s.image(1), UnencapsulateRequest{Ref: "taken/by"}, KindInvalidOption, "can't exist beside taken"},
		{"not signed", s.image(1), UnencapsulateRequest{Image: remoteName}, KindSignatureRejected, "no detached metadata"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, c.image))
			h.addRemote("vendor", key)
			dir := t.TempDir()
			h.ostree("commit", "--branch=taken", "--tree=dir="+dir)
			refs := h.refs()
			if c.req.Image == "" {
				c.req.Image = testName
			}
			if c.req.Ref == "" {
				c.req.Ref = "vendor/os"
			}
			_, err := h.im.Unencapsulate(context.Background(), c.req, nil)
			if KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (kind %s), want kind %s: …%s…", err, KindOf(err), c.kind, c.want)
			}
			h.checkClean(refs)
		})
	}
}

func TestUnencapsulateSigned(t *testing.T) {
	key := newSigningKey(t)
	s := newSystem(t, plainSystem)
	s.sign(key)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, s.image(2)))
	h.addRemote("vendor", key)
	res, err := h.im.Unencapsulate(context.Background(), UnencapsulateRequest{Image: remoteName, Ref: "os"}, nil)
	h.must(err)
	if !strings.Contains(res.VerifyText, "Good signature") || strings.TrimSpace(h.ostree("rev-parse", "os")) != s.commit.String() {
		t.Errorf("result %+v", res)
	}
	// The signature came along.
	if shown := h.ostree("show", "--gpg-verify-remote=vendor", "os"); !strings.Contains(shown, "Good signature") {
		t.Errorf("the commit is %s", shown)
	}
}
