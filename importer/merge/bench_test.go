package merge

import (
	"context"
	"fmt"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// benchLayers commits an image of many layers: a base of 100 × 100 directories with 11 files each,
// and layers that each change twenty directories, hide a file in two and make one opaque.
func benchLayers(r *testRepo, count int) []objects.Checksum {
	var base []string
	for i := range 100 {
		for j := range 100 {
			dir := fmt.Sprintf("usr/share/%02d/%02d", i, j)
			base = append(base, "d "+dir+" 755", fmt.Sprintf("f %s/own%d-%d", dir, i, j)) // no two dirtrees alike
			for k := range 11 {
				base = append(base, fmt.Sprintf("f %s/file%d %d", dir, k, k))
			}
		}
	}
	layers := []objects.Checksum{r.commit(append([]string{"d . 755", "d usr 755"}, base...))}
	for n := range count - 1 {
		var lines []string
		for i := range 20 {
			dir := fmt.Sprintf("usr/share/%02d/%02d", (n*7+i*13)%100, (n*31+i*17)%100)
			lines = append(lines, fmt.Sprintf("f %s/new%d %d", dir, n, n))
			switch i {
			case 0:
				lines = append(lines, "f "+dir+"/.wh..wh..opq")
			case 1, 2:
				lines = append(lines, "f "+dir+"/.wh.file3")
			}
		}
		layers = append(layers, r.commit(lines))
	}
	return layers
}

func BenchmarkMerge(b *testing.B) {
	r := newTestRepo(b)
	layers := benchLayers(r, 60)
	for _, count := range []int{2, 60} {
		b.Run(fmt.Sprintf("layers=%d", count), func(b *testing.B) {
			for b.Loop() {
				st, err := r.repo.NewStaging()
				r.must(err)
				_, err = Merge(context.Background(), st, nil, layers[:count], Options{Rules: layertar.Rules{}})
				r.must(err)
				r.must(st.Close())
			}
		})
	}
	b.Run("base", func(b *testing.B) {
		base, err := r.repo.Commit(layers[0])
		r.must(err)
		for b.Loop() {
			st, err := r.repo.NewStaging()
			r.must(err)
			_, err = Merge(context.Background(), st, &base, layers[1:2], Options{})
			r.must(err)
			r.must(st.Close())
		}
	})
	b.Run("layers=60/landed", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			st, err := r.repo.NewStaging()
			r.must(err)
			tree, err := Merge(context.Background(), st, nil, layers, Options{})
			r.must(err)
			commit, err := st.WriteCommit(objects.Commit{Timestamp: uint64(n), Tree: tree.Tree, Meta: tree.Meta})
			r.must(err)
			r.must(st.SetRef("bench", commit))
			r.must(st.Land(context.Background()))
			r.must(st.Close())
		}
	})
}
