package collect_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer/collect"
)

// TestManyImagesWithManyLayers has a quota look at the layers of every image. To sum them up again
// for each takes minutes.
func TestManyImagesWithManyLayers(t *testing.T) {
	const images, layers = 300, 300
	s := newStore(t)
	for i := range images {
		names := make([]string, layers)
		for l := range names {
			names[l] = fmt.Sprint(i, " ", l)
		}
		names[0] = "base"
		s.image(fmt.Sprintf("docker://registry.example.com/app:%d", i), i%28+1, names...)
	}
	s.land()
	start := time.Now()
	deleted := 0
	for _, d := range s.decide(collect.Policy{Undeployed: true, Quota: layerSize * (10*(layers-1) + 1)}) {
		if d.Delete {
			deleted++
		}
	}
	took := time.Since(start)
	t.Logf("%d of %d images go after %v", deleted, images, took)
	if deleted != images-10 || took > 15*time.Second {
		t.Errorf("%d of %d images go after %v", deleted, images, took)
	}
}
