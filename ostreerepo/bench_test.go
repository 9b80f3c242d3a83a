package ostreerepo_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// BenchmarkWriteFile writes files with different content from as many goroutines as there are
// processors.
func BenchmarkWriteFile(b *testing.B) {
	for _, mode := range modes {
		for _, size := range []int{100, 4 << 10, 64 << 10, 4 << 20} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) {
				s := newStaging(b, newRepo(b, mode))
				var serial atomic.Uint64
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					content := make([]byte, size)
					for pb.Next() {
						writeNumbered(b, s, content, serial.Add(1))
					}
				})
			})
		}
	}
}

// BenchmarkRewriteFile writes a file that the staging has.
func BenchmarkRewriteFile(b *testing.B) {
	s := newStaging(b, newRepo(b, ostreerepo.ModeBare))
	content := make([]byte, 4<<10)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		writeNumbered(b, s, content, 1)
	}
}

// writeNumbered writes a file whose content begins with the number.
func writeNumbered(t testing.TB, s *ostreerepo.Staging, content []byte, number uint64) objects.Checksum {
	binary.BigEndian.PutUint64(content, number)
	c, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, int64(len(content)), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// manyFiles writes a commit with count files of size bytes, a hundred in a directory.
func manyFiles(t testing.TB, s *ostreerepo.Staging, count, size int, first uint64) objects.Checksum {
	meta, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, size)
	var root objects.DirTree
	for d := 0; d*100 < count; d++ {
		var dir objects.DirTree
		for f := d * 100; f < min(count, d*100+100); f++ {
			dir.Files = append(dir.Files, objects.TreeFile{Name: fmt.Sprintf("%06d", f), Checksum: writeNumbered(t, s, content, first+uint64(f))})
		}
		tree, err := s.WriteDirTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		root.Dirs = append(root.Dirs, objects.TreeDir{Name: fmt.Sprintf("%04d", d), Tree: tree, Meta: meta})
	}
	tree, err := s.WriteDirTree(root)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// BenchmarkLand lands 10,000 new files of 16 KiB.
func BenchmarkLand(b *testing.B) {
	const files, size = 10_000, 16 << 10
	b.SetBytes(files * size)
	for b.Loop() {
		b.StopTimer()
		repo := newRepo(b, ostreerepo.ModeBare)
		s := newStaging(b, repo)
		c := manyFiles(b, s, files, size, 0)
		b.StartTimer()
		landRef(b, s, "ref", c)
	}
}

// BenchmarkRead reads a commit natively: all its directories, and the content of all its files.
func BenchmarkRead(b *testing.B) {
	for _, mode := range modes {
		repo := newRepo(b, mode)
		s := newStaging(b, repo)
		landRef(b, s, "ref", manyFiles(b, s, 2000, 4<<10, 0))
		b.Run("metadata/"+string(mode), func(b *testing.B) {
			for b.Loop() {
				readCommit(b, repo, "ref", func(objects.TreeFile) {})
			}
		})
		b.Run("content/"+string(mode), func(b *testing.B) {
			b.SetBytes(2000 * 4 << 10)
			for b.Loop() {
				readCommit(b, repo, "ref", func(f objects.TreeFile) {
					_, content, err := repo.OpenFile(f.Checksum)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, content); err != nil {
						b.Fatal(err)
					}
					content.Close()
				})
			}
		})
	}
}

// readCommit calls file for every file of a ref's commit.
func readCommit(t testing.TB, repo *ostreerepo.Repo, ref string, file func(objects.TreeFile)) {
	c, err := repo.Resolve(ref)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(objects.Checksum)
	walk = func(c objects.Checksum) {
		tree, err := repo.DirTree(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Dirs {
			walk(d.Tree)
		}
		for _, f := range tree.Files {
			file(f)
		}
	}
	walk(commit.Tree)
}
