package ocimodel

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// The model against a runtime's unpacking.
func TestModelAgreesWithUmoci(t *testing.T) {
	umoci := needs.Tool(t, "umoci")
	for seed := range uint64(100) {
		img := Generate(seed, GenerateOptions{Portable: true})
		want, err := Unpack(img)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var spec ociimage.Spec
		for _, l := range img.Layers {
			archive, err := l.Tar()
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			spec.Layers = append(spec.Layers, ociimage.Layer{Tar: archive, Compression: ociimage.Gzip})
		}
		built, err := spec.Build()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		layout, root := filepath.Join(dir, "layout"), filepath.Join(dir, "root")
		if err := built.WriteLayout(layout, "test"); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(umoci, "raw", "unpack", "--image", layout+":test", root).CombinedOutput(); err != nil {
			t.Errorf("seed %d: %v\n%s\n%s", seed, err, out, img)
			continue
		}
		got, err := ReadDisk(root)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := Diff(want, got); diff != "" {
			t.Errorf("seed %d:\n%s%s", seed, diff, img)
		}
	}
}
