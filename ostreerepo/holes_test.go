package ostreerepo_test

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// taken is how many bytes of disk an object takes.
func taken(t *testing.T, repo *ostreerepo.Repo, c objects.Checksum) int64 {
	t.Helper()
	name := c.String()
	found, err := filepath.Glob(filepath.Join(repo.Path(), "objects", name[:2], name[2:]+".file*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(found[0], &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

// TestHoles wants long runs of zeros to take no space, and everything to be what ostree takes it
// for.
func TestHoles(t *testing.T) {
	const mb, block = 1 << 20, 4 << 10
	at := func(size int, offsets ...int) []byte {
		b := make([]byte, size)
		for _, offset := range offsets {
			b[offset] = 'x'
		}
		return b
	}
	tests := []struct {
		name    string
		content []byte
		most    int64 // bytes on disk, besides a little for the file system
	}{
		{"nothing", nil, 0},
		{"one byte", at(1), block},
		{"less than a block", at(block - 1), block},
		{"one block", at(block), block},
		{"a block and a byte", at(block + 1), 2 * block},
		{"small", at(mb), 0},
		{"large", at(16 * mb), 0},
		{"large and odd", at(16*mb + 1), block},
		{"a byte in the middle", at(16*mb, 8*mb+5), block},
		{"a byte at each end", at(16*mb+7, 0, 16*mb+6), 2 * block},
		{"a byte at the ends of pieces", at(2*mb, 256<<10-1, 256<<10, mb-1, mb), 4 * block},
		{"a small file with data in between", at(mb, 5*block, 6*block+1, 100*block), 3 * block},
		{"no holes", bytes.Repeat([]byte("x"), 2*mb), 2 * mb},
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			s := newStaging(t, repo)
			var tree objects.DirTree
			for i, tt := range tests {
				// Each its own object, and its pieces of odd sizes.
				h := objects.FileHeader{Mode: unix.S_IFREG | 0o644}
				c, err := s.WriteFile(h, int64(len(tt.content)), io.MultiReader(bytes.NewReader(tt.content[:len(tt.content)/3]), bytes.NewReader(tt.content[len(tt.content)/3:])))
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				if want := objects.ChecksumOf(append(h.ChecksumPrefix(), tt.content...)); c != want {
					t.Errorf("%s: checksum %s, want %s", tt.name, c, want)
				}
				tree.Files = append(tree.Files, objects.TreeFile{Name: string(rune('a' + i)), Checksum: c})
			}
			landRef(t, s, "holes", commitOf(t, s, tree))
			if err := repo.Fsck(t.Context()); err != nil {
				t.Error(err)
			}
			for i, tt := range tests {
				const slack = 128 << 10 // compression in archive mode leaves a little
				if got := taken(t, repo, tree.Files[i].Checksum); got > tt.most+slack {
					t.Errorf("%s takes %d bytes, want %d", tt.name, got, tt.most)
				}
				_, r, err := repo.OpenFile(tree.Files[i].Checksum)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, tt.content) {
					t.Errorf("%s: read %d bytes, %v", tt.name, len(got), err)
				}
			}
		})
	}
}

// commitOf writes a commit with a root directory.
func commitOf(t *testing.T, s *ostreerepo.Staging, root objects.DirTree) objects.Checksum {
	t.Helper()
	tree, err := s.WriteDirTree(root)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
