package ostreetar_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
)

// FuzzRead reads archives that anybody may have made, as commit layers and as chunks. Either the
// error says what is wrong, or the commit is there, and every object of a chunk commit.
func FuzzRead(f *testing.F) {
	from, c := smallSource(f)
	files := encapsulated.Files(f, from, c)
	for _, encoding := range encapsulated.Encodings() {
		f.Add(withoutPlumbing(encapsulated.CommitEntries(f, from, c, encoding), f), true)
		f.Add(withoutPlumbing(encapsulated.ChunkEntries(f, from, files, encoding), f), false)
	}
	repo := newRepo(f, ostreerepo.ModeBareUser)
	st, err := repo.NewStaging()
	check(f, err)
	f.Cleanup(func() { st.Close() })
	f.Fuzz(func(t *testing.T, data []byte, isCommit bool) {
		data = withChecksums(data)
		layer := layerOf(data, data)
		var got objects.Checksum
		var err error
		if isCommit {
			var commit ostreetar.Commit
			commit, _, err = ostreetar.ReadCommit(context.Background(), st, bytes.NewReader(data), layer, ostreetar.Options{})
			got = commit.Checksum
		} else {
			got, _, err = ostreetar.ReadChunk(context.Background(), st, bytes.NewReader(data), layer, ostreetar.Options{})
		}
		if err != nil {
			var entryErr *blob.EntryError
			if !errors.As(err, &entryErr) && !errors.Is(err, ostreetar.ErrNoCommit) && !blob.IsDamage(err) {
				t.Fatalf("an error of no known kind: %v", err)
			}
			return
		}
		if _, err := st.Commit(got); err != nil {
			t.Fatal(err)
		}
		if err := st.Complete(t.Context(), got); err != nil && !(isCommit && errors.Is(err, ostreerepo.ErrNoObject)) {
			t.Fatal(err)
		}
	})
}

// withoutPlumbing makes a small archive of the entries that matter.
func withoutPlumbing(entries []encapsulated.Entry, f *testing.F) []byte {
	var kept []encapsulated.Entry
	for _, e := range entries {
		if e.Typeflag != tar.TypeDir {
			kept = append(kept, e)
		}
	}
	return encapsulated.Tar(f, kept)
}

// withChecksums gives what looks like a header the right checksum, without which mutated headers
// would get nowhere.
func withChecksums(data []byte) []byte {
	data = bytes.Clone(data)
	for block := data; len(block) >= 512; block = block[512:] {
		if string(block[257:262]) != "ustar" {
			continue
		}
		copy(block[148:156], "        ")
		sum := 0
		for _, b := range block[:512] {
			sum += int(b)
		}
		copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return data
}
