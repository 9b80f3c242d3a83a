package ocilayout_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
)

// TestLevels compares the sizes of layers: the usual one is that of zlib's usual level, as far as
// another program can tell, and a level that is asked for counts.
func TestLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < 2<<20 {
		fmt.Fprintf(&text, "%s word%d number %d\n", []string{"error", "warning", "note"}[r.IntN(3)], r.IntN(2000), r.IntN(100))
	}
	var usual bytes.Buffer
	w := gzip.NewWriter(&usual) // as zlib's level 6
	if _, err := w.Write(text.Bytes()); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	size := func(c ocilayout.Compression) int64 {
		w, err := ocilayout.New(oci(t.TempDir()+"/layout"), ocilayout.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		d, _, err := w.AddLayer(t.Context(), c, func(to io.Writer) error {
			_, err := to.Write(text.Bytes())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return d.Size
	}
	got, want := size(ocilayout.Compression{}), int64(usual.Len())
	if got > want+want/50 {
		t.Errorf("a layer has %d bytes, zlib makes %d of it", got, want)
	}
	if fast, small := size(ocilayout.Compression{Level: 1}), size(ocilayout.Compression{Level: 9}); fast <= got || small > got {
		t.Errorf("%d bytes at level 1, %d at the usual one, %d at level 9", fast, got, small)
	}
}
