package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// sparse is an archive of files that are one hole of the given size each, in the PAX format 0.1 of
// GNU tar: its map has one segment, of no data, at the end.
func sparse(t *testing.T, size int64, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, name := range names {
		records := ""
		for _, kv := range []string{
			"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=" + name, fmt.Sprintf("GNU.sparse.size=%d", size),
			"GNU.sparse.numblocks=1", fmt.Sprintf("GNU.sparse.map=%d,0", size),
		} {
			n := len(kv) + 2
			for n != len(fmt.Sprintf("%d %s\n", n, kv)) {
				n = len(fmt.Sprintf("%d %s\n", n, kv))
			}
			records += fmt.Sprintf("%d %s\n", n, kv)
		}
		// Package tar writes no sparse files: the entry is one whose extended header is written by
		// hand.
		w := tar.NewWriter(&b)
		header := &tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders/x", Mode: 0o644, Size: int64(len(records)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		setType(b.Bytes()[b.Len()-512:], tar.TypeXHeader)
		if _, err := w.Write([]byte(records)); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return append(b.Bytes(), make([]byte, 1024)...)
}

// setType changes the type of a header block, and its checksum with it.
func setType(block []byte, typeflag byte) {
	block[156] = typeflag
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func TestHolesStayHoles(t *testing.T) {
	const size = 200 << 20
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			commit, _ := land(t, repo, sparse(t, size, "f"), Options{})
			if got := listing(t, repo, commit); len(got) != 2 || got[1] != fmt.Sprintf("-00644 0 0 %d /f", size) {
				t.Errorf("listing %q", got)
			}
			var blocks int64
			files, err := filepath.Glob(repo.Path() + "/objects/*/*.file*")
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, file := range files {
				var stat unix.Stat_t
				if err := unix.Lstat(file, &stat); err != nil {
					t.Fatal(err)
				}
				blocks += stat.Blocks
			}
			if blocks*512 > 2<<20 { // what 200 MiB of zeros take when they are compressed
				t.Errorf("the file takes %d bytes", blocks*512)
			}
		})
	}
}

// TestTooManyHoles begins with holes of earlier entries, because it takes long to read so many.
func TestTooManyHoles(t *testing.T) {
	const mb = 1 << 20
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for name, test := range map[string]struct {
		archive []byte
		before  int64
		refused bool
	}{
		"as many as may be":  {sparse(t, mb, "f", "g"), maxHoles - 2*mb, false},
		"a small file":       {sparse(t, mb, "f", "g"), maxHoles - 2*mb + 1, true},
		"a large file":       {sparse(t, 3*mb, "f"), maxHoles - 3*mb + 1, true},
		"data are not holes": {archive(t, file("f", strings.Repeat("x", mb))), maxHoles, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := blob.Read(t.Context(), bytes.NewReader(test.archive), layerOf(test.archive, test.archive), blob.Options{},
				func(_ context.Context, archive io.Reader, files *blob.Writers) error {
					r := newReader(&writers{newStaging(t, repo), files, nil}, Options{})
					r.holes.total = test.before
					return r.readAll(archive)
				})
			var entry *EntryError
			if errors.As(err, &entry) != test.refused || test.refused && !strings.Contains(err.Error(), "4 GiB") || err != nil && !test.refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestHolesOfAllLayers: layers that are each allowed are refused when they have too many holes
// together, and one that failed does not count.
func TestHolesOfAllLayers(t *testing.T) {
	const mb = 1 << 20
	repo := newRepo(t, ostreerepo.ModeBareUser)
	st := newStaging(t, repo)
	var image Holes
	image.total.Store(maxImageHoles - 3*mb)
	pull := func(data []byte) error {
		_, _, err := Import(t.Context(), st, bytes.NewReader(data), layerOf(data, data), Options{Holes: &image})
		return err
	}
	var entry *EntryError
	if err := pull(sparse(t, mb, "a", "b")); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{sparse(t, mb, "c", "d"), sparse(t, 2*mb, "e")} {
		if err := pull(data); !errors.As(err, &entry) || !errors.Is(err, errImageHoles) {
			t.Errorf("error %v", err)
		}
	}
	if err := pull(sparse(t, mb, "f")); err != nil {
		t.Errorf("after layers that failed: %v", err)
	}
}

// TestHolesAreRefusedByTheHeader: a hole beyond the limit is refused before its zeros are read.
func TestHolesAreRefusedByTheHeader(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for name, data := range map[string][]byte{
		"one":              sparse(t, maxHoles+1, "a"),
		"far beyond":       sparse(t, 1<<62, "a"),
		"old GNU format":   oldSparse(t, maxHoles+1),
		"after a real one": append(sparseWithin(t), sparse(t, maxHoles, "b")...),
	} {
		st := newStaging(t, repo)
		var read countingReader
		read.r = bytes.NewReader(data)
		_, _, err := Import(t.Context(), st, &read, layerOf(data, data), Options{})
		var entry *EntryError
		if !errors.As(err, &entry) || !errors.Is(err, errHoles) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sparseWithin is the beginning of an archive with a hole that a layer may have.
func sparseWithin(t *testing.T) []byte {
	data := sparse(t, 1<<20, "a")
	return data[:len(data)-1024]
}

// oldSparse is an archive with a file that is one hole, in the format of old GNU tar.
func oldSparse(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "old", Mode: 0o644, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	block := b.Bytes()
	copy(block[386:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
	copy(block[483:], fmt.Sprintf("%011o\x00", size))
	setType(block, tar.TypeGNUSparse)
	return append(block, make([]byte, 1024)...)
}

// TestStoredSize: the size in the last header is found however the archive is read.
func TestStoredSize(t *testing.T) {
	data := archive(t, file("usr/a", strings.Repeat("x", 700)), file("usr/b", strings.Repeat("y", 5)))
	for _, step := range []int{1, 7, 511, 512, 513, 4096, 1 << 20} {
		c := &countingReader{r: bytes.NewReader(data)}
		source := tar.NewReader(c)
		buffer := make([]byte, step)
		for _, want := range []int64{700, 5} {
			if _, err := source.Next(); err != nil {
				t.Fatal(err)
			}
			if c.stored != want {
				t.Errorf("step %d: %d, want %d", step, c.stored, want)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{source}, buffer); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestManyFilteredNames: the names of entries that are left out are bounded.
func TestManyFilteredNames(t *testing.T) {
	entries := []entry{dir("./"), file("opt/first", "")}
	for i := range 3 * maxFiltered {
		entries = append(entries, file(fmt.Sprintf("run/name-%03d", i), ""))
	}
	entries = append(entries, file("run/name-001/again", ""), special(tar.TypeFifo, "usr/pipe"))
	data := archive(t, entries...)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	_, stats, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{DropSpecialFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	got := stats.Filtered
	if len(got) != maxFiltered+2 || got[FilteredOthers] != 2*maxFiltered || got[FilteredSpecial] != 1 || got["name-001"] != 2 {
		t.Errorf("%d names, %d others: %v", len(got), got[FilteredOthers], got)
	}
}
