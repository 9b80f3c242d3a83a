//go:build system

package system

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// site is a registry that the machine trusts without TLS, behind a gateway.
type site struct {
	registry *fixture.Registry
	gateway  *fixture.Gateway
}

func newSite(t *testing.T) site {
	t.Helper()
	registry := fixture.StartRegistry(t)
	s := site{registry, fixture.StartGateway(t, registry)}
	// As an administrator would: the daemon's callers need no option for it.
	config := fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", s.gateway.Host)
	if err := os.WriteFile("/etc/containers/registries.conf.d/loopback.conf", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// image is one that a registry holds.
type image struct {
	reference string
	layers    []digest.Digest
}

// push makes an image of one layer per function, and pushes it; each function
// changes the root file system that it is given the path of. umoci makes the
// layers, so that they are not of our making.
func (s site) push(t *testing.T, name string, layers ...func(t *testing.T, root string)) image {
	t.Helper()
	work := t.TempDir()
	layout, bundle := filepath.Join(work, "layout"), filepath.Join(work, "bundle")
	source := layout + ":image"
	run(t, "umoci", "init", "--layout", layout)
	run(t, "umoci", "new", "--image", source)
	run(t, "umoci", "unpack", "--image", source, bundle)
	for _, layer := range layers {
		layer(t, filepath.Join(bundle, "rootfs"))
		run(t, "umoci", "repack", "--refresh-bundle", "--image", source, bundle)
	}
	run(t, "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:"+source, "docker://"+s.registry.Host+"/"+name)

	var manifest struct {
		Layers []struct{ Digest digest.Digest }
	}
	if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "--raw", "oci:"+source)), &manifest); err != nil {
		t.Fatal(err)
	}
	pushed := image{reference: "docker://" + s.gateway.Host + "/" + name}
	for _, layer := range manifest.Layers {
		pushed.layers = append(pushed.layers, layer.Digest)
	}
	return pushed
}

// writeFile makes a file and the directories above it, mode and owner as given.
func writeFile(t *testing.T, path, content string, mode os.FileMode, uid, gid int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// noise is a layer of one file of that many random bytes.
func noise(path string, size int) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		content := make([]byte, size)
		if _, err := rand.Read(content); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(root, path), string(content), 0o644, 0, 0)
	}
}
