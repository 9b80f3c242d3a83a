package e2e

import (
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// A copy in a repository of another mode is the same image: it is checked there, and a pull has
// nothing to do.
func TestCopy(t *testing.T) {
	d := newDerived(t)
	host := newStageFor(t, d.stage)
	img, plain := host.push(t, "plain", files("a"), files("b"))
	host.registry.Push(t, img, "os:copied")
	for _, test := range []struct {
		name, image, target string
		mode                ostreerepo.Mode
	}{
		{"derived", d.derived, "", ostreerepo.ModeArchive},
		{"under another name", plain, host.reference("copied"), ostreerepo.ModeBare},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := pulled(t, fixture.Run(t, host.pull(t, test.image)))
			to := fixture.NewRepo(t, test.mode)
			args := []string{"--json", "copy", test.image, "--to-repo=" + to.Path()}
			name := test.image
			if test.target != "" {
				name, args = test.target, append(args, "--target="+test.target)
			}
			copied := answer[importer.CopyResult](t, fixture.Run(t, host.bus.Ctl(t, args...)))
			if copied.Commit != result.Commit || copied.ManifestDigest != result.ManifestDigest || copied.Reference != name ||
				copied.Layers != len(result.Layers) {
				t.Errorf("the copy is %+v of %+v", copied, result)
			}
			for _, l := range result.Layers {
				if refs := fixture.Refs(t, to); !strings.Contains(refs, l.Ref+" "+l.Commit+"\n") {
					t.Errorf("layer %s is not among the copy's refs\n%s", l.Digest, refs)
				}
			}
			fixture.Fsck(t, to)
			host.gateway.Fetched()
			again := pulled(t, fixture.Run(t, local(t, to.Path(), "--json", "pull", "--tls-verify=false", name)))
			if !again.AlreadyPresent || again.Commit != result.Commit {
				t.Errorf("a pull into the copy does %+v", again)
			}
			fetched := host.gateway.Fetched()
			for _, l := range result.Layers {
				if fetched[l.Digest] > 0 {
					t.Errorf("layer %s was fetched", l.Digest)
				}
			}
			checked := answer[importer.VerifyResult](t, fixture.Run(t, local(t, to.Path(), "--json", "verify")))
			if checked.Count(importer.StateGood) != 1 {
				t.Errorf("verify says of the copy %+v", checked)
			}
			if left := fixture.Leftovers(t, to); len(left) > 0 {
				t.Errorf("the copy's tmp has %q", left)
			}
		})
	}
}

// A copy of nothing, and one to nowhere, fail.
func TestCopyFails(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	_, plain := s.push(t, "plain", files("a"))
	pulled(t, fixture.Run(t, s.pull(t, plain)))
	for _, test := range []struct {
		name, image, to string
		code            int
	}{
		{"an image that is not stored", s.reference("none"), fixture.NewRepo(t, ostreerepo.ModeBareUser).Path(), 3},
		{"to what is no repository", plain, t.TempDir(), 1},
	} {
		if out := fixture.Run(t, s.bus.Ctl(t, "copy", test.image, "--to-repo="+test.to)); out.Code != test.code {
			t.Errorf("copying %s exits %d, want %d: %s", test.name, out.Code, test.code, out.Stderr)
		}
	}
}
