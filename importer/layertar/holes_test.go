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
		// Package tar writes no sparse files: the entry is one whose extended header is written by hand.
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
