package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// TestPolicy opens an image with the real skopeo. One that enforces policies
// refuses the image, an older one is refused itself; to whoever asked for the
// image that is the same.
func TestPolicy(t *testing.T) {
	fixture.Tool(t, "skopeo")
	dir := fixture.PublicDir(t)
	built, err := ociimage.Spec{Layers: []ociimage.Layer{{Tar: make([]byte, 1024)}}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := built.WriteLayout(dir, "tag"); err != nil {
		t.Fatal(err)
	}
	image := reference.Image{Transport: reference.TransportOCI, Name: dir + ":tag"}
	const accept, reject = `[{"type": "insecureAcceptAnything"}]`, `[{"type": "reject"}]`
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	for _, test := range []struct {
		name, policy string
		want         importer.Kind
		strict       bool // the policy can vouch for an image
	}{
		{"accepts", `{"default": ` + accept + `}`, "", false},
		{"rejects", `{"default": ` + reject + `}`, importer.KindSignatureRejected, true},
		{"rejects the directory", `{"default": ` + accept + `, "transports": {"oci": {"` + dir + `": ` + reject + `}}}`, importer.KindSignatureRejected, false},
	} {
		for _, place := range []string{"the user's", "named"} {
			t.Run(test.name+", "+place, func(t *testing.T) {
				path := filepath.Join(home, ".config/containers/policy.json")
				if place == "named" {
					path = filepath.Join(t.TempDir(), "policy.json")
					t.Setenv("CONTAINERS_POLICY_JSON", path)
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(test.policy), 0o600); err != nil {
					t.Fatal(err)
				}
				source, err := openSource(logrus.New())(t.Context(), image, importer.Access{Anonymous: true})
				if err == nil {
					_, _, err = source.Manifest(t.Context())
					if closeErr := source.Close(); closeErr != nil {
						t.Error(closeErr)
					}
				}
				if kind := importer.KindOf(err); kind != test.want {
					t.Errorf("got %q (%v), want %q", kind, err, test.want)
				}
				if err := signature.CheckPolicy(signature.Environment{}); (err == nil) != test.strict {
					t.Errorf("the policy is looked at as %v", err)
				}
			})
		}
	}
}
