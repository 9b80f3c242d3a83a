package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// An image that a remote is to vouch for is imported when its commit is signed with a key of that
// remote, and else nothing of it but the commit's layer is fetched.
func TestRemoteSignature(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	vendor, stranger := fixture.NewKey(t, "Vendor <vendor@example.com>"), fixture.NewKey(t, "Stranger <stranger@example.com>")
	vendor.Sign(t, s.repo.Path(), commitSystem(t, s.repo, "1"))
	made := s.encapsulate(t, s.reference("signed"))
	commitSystem(t, s.repo, "2")
	s.encapsulate(t, s.reference("unsigned"))
	_, plain := s.push(t, "plain", files("a"))

	host := newStageFor(t, s)
	for name, key := range map[string]fixture.Key{"vendor": vendor, "stranger": stranger} {
		fixture.MustRun(t, "ostree", "--repo="+host.repo.Path(), "remote", "add", "--gpg-import="+key.Public, name, "https://nowhere.invalid/")
	}
	before := fixture.Refs(t, host.repo)
	for _, test := range []struct{ name, remote, reference, says string }{
		{"another key", "stranger", s.reference("signed"), "public key not found"},
		{"not signed", "vendor", s.reference("unsigned"), "no detached metadata"},
		{"no such remote", "nobody", s.reference("signed"), "nobody"},
		{"plain image", "vendor", plain, "no OSTree commit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.gateway.Fetched()
			out := fixture.Run(t, host.pull(t, "ostree-remote-image:"+test.remote+":"+test.reference))
			if out.Code != 4 || !strings.Contains(out.Stderr, test.says) {
				t.Errorf("exits %d: %s", out.Code, out.Stderr)
			}
			if kind := lastJob(t, host).ErrorKind; kind != importer.KindSignatureRejected {
				t.Errorf("the job's error is %s", kind)
			}
			fetched := s.gateway.Fetched()
			for _, l := range made.Layers[1:] {
				if fetched[l.Digest] > 0 {
					t.Errorf("%s was fetched", l.Name)
				}
			}
			wantUnchanged(t, host, before)
		})
	}

	result := pulled(t, fixture.Run(t, host.pull(t, "ostree-remote-image:vendor:"+s.reference("signed"))))
	const says = `Good signature from "Vendor <vendor@example.com>"`
	if !strings.Contains(result.VerifyText, says) {
		t.Errorf("the pull says of signatures %q", result.VerifyText)
	}
	if shown := host.show(t, s.reference("signed")); shown.VerifyText != result.VerifyText {
		t.Errorf("show --json says of signatures %q", shown.VerifyText)
	}
	if out := fixture.Run(t, host.bus.Ctl(t, "show", s.reference("signed"))); !strings.Contains(out.Stdout, says) {
		t.Errorf("show prints\n%s", out.Stdout)
	}
	out := fixture.Run(t, local(t, host.repo.Path(), "unencapsulate", "--tls-verify=false", "ostree-remote-image:stranger:"+s.reference("signed")))
	if out.Code != 4 || !strings.Contains(out.Stderr, "public key not found") {
		t.Errorf("unencapsulating what is stored already, by another remote, exits %d: %s", out.Code, out.Stderr)
	}
}

// Who asks for a signature by the policy is refused where the policy accepts everything, or where
// the proxy doesn't enforce it.
func TestPolicySignature(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	_, reference := s.push(t, "1", files("a"))
	const accept, reject = `[{"type": "insecureAcceptAnything"}]`, `[{"type": "reject"}]`
	for _, test := range []struct{ name, policy, says string }{
		{"accepts everything", `{"default": ` + accept + `}`, "insecureAcceptAnything"},
		{
			"accepts everything but this",
			`{"default": ` + accept + `, "transports": {"docker": {"` + s.gateway.Host + `": ` + reject + `}}}`, "insecureAcceptAnything",
		},
		{"rejects", `{"default": ` + reject + `}`, "policy"},
		{"is no policy", `{"default": []}`, "no default"},
		{"is missing", "", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.json")
			if test.policy != "" {
				if err := os.WriteFile(path, []byte(test.policy), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before := fixture.Refs(t, s.repo)
			pull := local(t, s.repo.Path(), "pull", "--tls-verify=false", "ostree-image-signed:"+reference)
			pull.Env = append(os.Environ(), "CONTAINERS_POLICY_JSON="+path)
			if out := fixture.Run(t, pull); out.Code != 4 || !strings.Contains(out.Stderr, test.says) {
				t.Errorf("exits %d: %s", out.Code, out.Stderr)
			}
			wantUnchanged(t, s, before)
		})
	}
}
