package importer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestRandomImagesAgainstUmoci imports random images and compares the result with what umoci unpacks of them.
func TestRandomImagesAgainstUmoci(t *testing.T) {
	if _, err := exec.LookPath("umoci"); err != nil {
		t.Fatal("umoci is missing: apt install umoci")
	}
	if os.Getuid() != 0 {
		t.Fatal("umoci unpacks owners only as root: run the tests as root")
	}
	compared := 0
	for seed := range uint64(randomImages) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := &randomImage{Rand: rand.New(rand.NewPCG(seed, 7))}
			layers := make([][]string, 2+random.IntN(3))
			for i := range layers {
				layers[i] = random.layer()
			}
			image := newImage(t, layers...)
			layout := t.TempDir()
			image.writeLayout(t, layout)
			rootfs := filepath.Join(t.TempDir(), "rootfs")
			if out, err := exec.Command("umoci", "raw", "unpack", "--image", layout+":test", rootfs).CombinedOutput(); err != nil {
				// umoci puts no directory that isn't listed in the place of a file, and follows no loop.
				t.Logf("umoci: %v: %s", err, out)
				return
			}
			compared++
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			h.ostree("commit", "--no-bindings", "--branch=umoci", "--tree=dir="+rootfs)
			res := h.mustPull(Request{Image: testName})
			got, want := h.ostree("ls", "-R", "-C", "-X", res.Commit), h.ostree("ls", "-R", "-C", "-X", "umoci")
			if got != want {
				t.Errorf("layers\n%s\nimported\n%s\nunpacked\n%s", strings.Join(listLayers(layers), "\n"), got, want)
			}
		})
	}
	if compared < randomImages/2 {
		t.Errorf("only %d of %d images could be compared", compared, randomImages)
	}
}

const randomImages = 20

func listLayers(layers [][]string) []string {
	var all []string
	for i, lines := range layers {
		all = append(all, fmt.Sprintf("layer %d:", i+1))
		all = append(all, lines...)
	}
	return all
}

// randomImage makes layers out of few names, so that they meet often.
type randomImage struct {
	*rand.Rand
	content int
}

func (r *randomImage) layer() []string {
	return r.directory([]string{"d . 755"}, "", 0, true)
}

// directory appends what a layer has in dir: markers first, then entries, some of them directories without a line of their
// own. Where dir itself has none, its entries belong to root: umoci gives an implied directory to root, the importer to
// the owner of what is in it.
func (r *randomImage) directory(lines []string, dir string, depth int, listed bool) []string {
	names := []string{"a", "b", "c", "+d", "usr"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	if depth > 0 && r.IntN(6) == 0 {
		lines = append(lines, "f "+path.Join(dir, ".wh..wh..opq"))
	}
	for _, name := range names[:1+r.IntN(2)] {
		if r.IntN(3) == 0 {
			lines = append(lines, "f "+path.Join(dir, ".wh."+name))
		}
	}
	for _, name := range names[1 : 2+r.IntN(3)] {
		at := path.Join(dir, name)
		switch kind := r.IntN(10); {
		case kind < 3:
			r.content++
			lines = append(lines, fmt.Sprintf("f %s %d", at, r.content))
		case kind < 4:
			lines = append(lines, fmt.Sprintf("l %s %s", at, []string{"a", "../b", "/c", "/usr/a", "missing/x", "+d/c"}[r.IntN(6)]))
		case depth < 3:
			own := r.IntN(5) > 1
			if own {
				uid := 0
				if listed {
					uid = r.IntN(3)
				}
				lines = append(lines, fmt.Sprintf("d %s 7%d%d %d", at, r.IntN(8), r.IntN(8), uid))
			}
			lines = r.directory(lines, at, depth+1, own)
		}
	}
	return lines
}

// writeLayout writes the image as an OCI layout with the tag test.
func (i *testImage) writeLayout(t *testing.T, dir string) {
	t.Helper()
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	for d, content := range i.blobs {
		writeFile(t, filepath.Join(blobs, d.Encoded()), content)
	}
	for _, document := range [][]byte{i.rawConfig, i.rawManifest} {
		writeFile(t, filepath.Join(blobs, digest.FromBytes(document).Encoded()), document)
	}
	index := ocispec.Index{Versioned: i.manifest.Versioned, Manifests: []ocispec.Descriptor{{
		MediaType: ocispec.MediaTypeImageManifest, Digest: i.digest, Size: int64(len(i.rawManifest)),
		Annotations: map[string]string{ocispec.AnnotationRefName: "test"},
	}}}
	writeFile(t, filepath.Join(dir, "index.json"), bytes.TrimSpace([]byte(toJSON(t, index))))
}
