package layertar

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// benchArchive is an archive of some 100 MB in 2,000 files of sizes like those of a distribution.
func benchArchive(b *testing.B) []byte {
	random := rand.New(rand.NewPCG(3, 4))
	entries := []entry{dir("./"), dir("usr")}
	for i := range 2000 {
		size := 1 << (8 + random.IntN(10))
		if i%100 == 0 {
			size = 3 << 20
		}
		content := make([]byte, size)
		for j := range content {
			content[j] = "abcdefghijklmnop"[random.IntN(4+i%12)]
		}
		if i%20 == 0 {
			entries = append(entries, dir(fmt.Sprintf("usr/%d", i/20)))
		}
		entries = append(entries, file(fmt.Sprintf("usr/%d/%d", i/20, i), string(content)))
	}
	return archive(b, entries...)
}

func BenchmarkImport(b *testing.B) {
	data := benchArchive(b)
	for _, bb := range []struct {
		name string
		blob []byte
	}{{"none", data}, {"zstd", zstded(b, data)}, {"gzip", gzipped(b, data)}} {
		b.Run(bb.name, func(b *testing.B) {
			repo := newRepo(b, ostreerepo.ModeBareUser)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				// Deleted at the end only: ext4 is slow to create files right after many were
				// deleted.
				st := newStaging(b, repo)
				if _, _, err := Import(b.Context(), st, bytes.NewReader(bb.blob), layerOf(bb.blob, data), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
