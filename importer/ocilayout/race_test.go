package ocilayout_test

import (
	"os"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestHostileOwner wants nothing written, replaced or deleted outside of a destination whose owner
// swaps our directories, and those of the layout, for links, whatever comes of the image.
func TestHostileOwner(t *testing.T) {
	needs.Capable(t, "renameat2")
	const rounds = 100
	private := []string{".ostree-importd-", ".new.ostree-importd-"}
	for name, test := range map[string]struct {
		dest     func(dir string) reference.Image
		swapped  func(dir string) string // the directory in which things are swapped
		prefixes []string
	}{
		"a new directory":    {func(dir string) reference.Image { return oci(dir + "/new:tag") }, func(dir string) string { return dir }, append(private, "new")},
		"a private one":      {func(dir string) reference.Image { return oci(dir + "/old:tag") }, func(dir string) string { return dir + "/old" }, private},
		"blobs":              {func(dir string) reference.Image { return oci(dir + "/old:tag") }, func(dir string) string { return dir + "/old" }, []string{"blobs"}},
		"blobs by algorithm": {func(dir string) reference.Image { return oci(dir + "/old:tag") }, func(dir string) string { return dir + "/old/blobs" }, []string{"sha256"}},
		"an archive":         {func(dir string) reference.Image { return ociArchive(dir + "/file:tag") }, func(dir string) string { return dir }, private},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, oci(dir+"/old:old"), "old", ocilayout.Compression{Format: ocilayout.Uncompressed})
			swapper := fixture.StartSwapper(t, test.swapped(dir), test.prefixes...)
			done := 0
			for range rounds {
				if tryWrite(t, test.dest(dir)) == nil {
					done++
				}
				_ = os.RemoveAll(dir + "/new")
				swapper.Check(t)
			}
			swaps := swapper.Check(t)
			if swaps == 0 {
				t.Error("nothing was swapped")
			}
			t.Logf("%d of %d images were written, under %d swaps", done, rounds, swaps)
		})
	}
}

// tryWrite writes a small image, if that can be done.
func tryWrite(t *testing.T, dest reference.Image) error {
	w, err := ocilayout.New(dest, ocilayout.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer w.Close()
	_, _, err = w.AddLayer(t.Context(), ocilayout.Compression{Format: ocilayout.Uncompressed}, fillWith(content, "two"))
	if err != nil {
		return err
	}
	config, err := w.PutBlob(t.Context(), "application/vnd.oci.image.config.v1+json", []byte("{}"))
	if err != nil {
		return err
	}
	manifest := `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + string(config.Digest) + `","size":2},"layers":[]}`
	_, err = w.Commit(t.Context(), []byte(manifest), nil)
	return err
}
