package ostreetar_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
)

// BenchmarkReadCommit reads a commit of some 100 MB in 2,000 files, into an empty repository and
// into one that has all of it.
func BenchmarkReadCommit(b *testing.B) {
	random := rand.New(rand.NewPCG(3, 4))
	dir := b.TempDir()
	for i := range 2000 {
		size := 1 << (8 + random.IntN(10))
		if i%100 == 0 {
			size = 3 << 20
		}
		content := make([]byte, size)
		for j := range content {
			content[j] = "abcdefghijklmnop"[random.IntN(4+i%12)]
		}
		path := filepath.Join(dir, fmt.Sprint(i/20))
		check(b, os.MkdirAll(path, 0o755))
		check(b, os.WriteFile(filepath.Join(path, fmt.Sprint(i)), content, 0o644))
	}
	from := newRepo(b, ostreerepo.ModeBareUser)
	c := commitTree(b, from, dir)
	archive := encapsulated.CommitLayer(b, from, c, encapsulated.Inline)
	full := newRepo(b, ostreerepo.ModeBareUser)
	st := newStaging(b, full)
	_, _, err := readCommit(b, st, archive, ostreetar.Options{})
	check(b, err)
	land(b, st, "ref", c)
	for name, repo := range map[string]*ostreerepo.Repo{"new": newRepo(b, ostreerepo.ModeBareUser), "present": full} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			b.ReportAllocs()
			for b.Loop() {
				// Deleted at the end only: ext4 is slow to create files right after many were
				// deleted.
				st := newStaging(b, repo)
				_, _, err := readCommit(b, st, archive, ostreetar.Options{})
				check(b, err)
				check(b, st.Complete(b.Context(), c))
			}
		})
	}
}
