package e2e

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// Images of many layers, with manifests that are too large for one message of the proxy (32 KiB)
// and for one argument of a program (128 KiB), are pulled like others, and their documents come
// back whole.
func TestManyLayersAndLargeManifests(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	fixture.NoSync(t, s.repo)
	var layers []ocimodel.Layer
	for i := range 64 {
		name := fmt.Sprintf("usr/share/%02d", i)
		layers = append(layers, ocimodel.Layer{Entries: []ocimodel.Entry{
			{Path: name, Type: ocimodel.File, Mode: 0o644, Content: []byte(name)},
			{Path: "usr/share/last", Type: ocimodel.File, Mode: 0o644, Content: []byte(name)},
		}})
	}
	for i, size := range []int{0, 40 << 10, 200 << 10} {
		t.Run(fmt.Sprintf("%d KiB more", size>>10), func(t *testing.T) {
			note := strings.Repeat("ö", size/2)
			img := build(t, ociimage.Spec{Annotations: map[string]string{"org.example.note": note}, Labels: map[string]string{"note": note}}, layers...)
			tag := fmt.Sprint(i)
			s.registry.Push(t, img, "os:"+tag)
			s.gateway.Fetched()
			result := pulled(t, fixture.Run(t, s.pull(t, s.reference(tag))))
			wantTree(t, s.repo, result.Commit, layers...)
			fetched := s.gateway.Fetched()
			for _, l := range result.Layers {
				if want := i == 0; want != (fetched[l.Digest] == 1) {
					t.Errorf("layer %s was fetched %d times", l.Digest, fetched[l.Digest])
				}
			}
			manifest := answer[ocispec.Manifest](t, fixture.Run(t, s.bus.Ctl(t, "show", "--manifest", s.reference(tag))))
			config := answer[ocispec.Image](t, fixture.Run(t, s.bus.Ctl(t, "show", "--config", s.reference(tag))))
			if manifest.Annotations["org.example.note"] != note || config.Config.Labels["note"] != note || len(manifest.Layers) != len(layers) {
				t.Errorf("the stored documents have notes of %d and %d bytes and %d layers, want %d, %d and %d",
					len(manifest.Annotations["org.example.note"]), len(config.Config.Labels["note"]), len(manifest.Layers), len(note), len(note), len(layers))
			}
			checked := answer[importer.VerifyResult](t, fixture.Run(t, s.bus.Ctl(t, "--json", "verify", s.reference(tag))))
			if checked.Count(importer.StateGood) != 1 {
				t.Errorf("verify says %+v", checked)
			}
		})
	}
	fixture.Fsck(t, s.repo)
}
