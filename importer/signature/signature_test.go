package signature_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

func TestKinds(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	fixture.MustRun(t, "ostree", "remote", "add", "--repo="+repo.Path(), "keys", "https://nowhere.invalid/")
	fixture.MustRun(t, "ostree", "remote", "add", "--repo="+repo.Path(), "--no-gpg-verify", "nothing", "https://nowhere.invalid/")
	dir := t.TempDir()
	accepting, rejecting := write(t, dir, "accept.json", insecure), write(t, dir, "reject.json", strict)
	commit := objects.Commit{}.Marshal()
	tests := []struct {
		name            string
		who             reference.Signature
		policy          string
		refused         bool // before the image is opened
		commitIsRefused bool // which nobody signed
	}{
		{"unverified", reference.Signature{Kind: reference.PolicyInsecureAllowed}, accepting, false, false},
		{"unverified without a policy", reference.Signature{Kind: reference.PolicyInsecureAllowed}, filepath.Join(dir, "missing"), false, false},
		{"signed", reference.Signature{Kind: reference.PolicyStrict}, rejecting, false, false},
		{"signed, but everything is accepted", reference.Signature{Kind: reference.PolicyStrict}, accepting, true, false},
		{"remote", reference.Signature{Kind: reference.Remote, Remote: "keys"}, accepting, false, true},
		{"remote that asks for nothing", reference.Signature{Kind: reference.Remote, Remote: "nothing"}, rejecting, true, true},
		{"unknown remote", reference.Signature{Kind: reference.Remote, Remote: "unknown"}, rejecting, true, true},
		{"no kind", reference.Signature{}, rejecting, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := environment("", map[string]string{"CONTAINERS_POLICY_JSON": tt.policy})
			if err := signature.Check(t.Context(), repo, tt.who, env); errors.Is(err, signature.ErrRefused) != tt.refused || (err != nil) != tt.refused {
				t.Errorf("Check: %v", err)
			}
			text, err := signature.Verify(t.Context(), repo, tt.who, commit, nil)
			if errors.Is(err, signature.ErrRefused) != tt.commitIsRefused || (err != nil) != tt.commitIsRefused || text != "" {
				t.Errorf("Verify: %q, %v", text, err)
			}
		})
	}
}
