package ocilayout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// checkClean wants no private directory left.
func checkClean(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			t.Errorf("left: %s", entry.Name())
		}
	}
}

// TestAbort wants nothing left of an image that isn't committed, and what was there unchanged.
func TestAbort(t *testing.T) {
	broken := errors.New("broken")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	good := digest.FromString("good")
	for name, test := range map[string]struct {
		do   func(w *ocilayout.Writer, manifest []byte) error
		want error
	}{
		"closed": {func(*ocilayout.Writer, []byte) error { return nil }, nil},
		"a layer fails": {func(w *ocilayout.Writer, _ []byte) error {
			_, _, err := w.AddLayer(t.Context(), ocilayout.Compression{}, func(to io.Writer) error {
				return errors.Join(fillWith(content, "one")(to), broken)
			})
			return err
		}, broken},
		"the context ends in a layer": {func(w *ocilayout.Writer, _ []byte) error {
			_, _, err := w.AddLayer(canceled, ocilayout.Compression{Format: ocilayout.Zstd}, fillWith(content, "one"))
			return err
		}, broken},
		"a blob's source fails": {func(w *ocilayout.Writer, _ []byte) error {
			return w.CopyBlob(t.Context(), ocispec.Descriptor{Digest: good, Size: 4}, iotest.ErrReader(broken))
		}, broken},
		"a blob is another": {func(w *ocilayout.Writer, _ []byte) error {
			return w.CopyBlob(t.Context(), ocispec.Descriptor{Digest: good, Size: 4}, strings.NewReader("evil"))
		}, blob.ErrDigest},
		"a blob is too short": {func(w *ocilayout.Writer, _ []byte) error {
			return w.CopyBlob(t.Context(), ocispec.Descriptor{Digest: good, Size: 5}, strings.NewReader("good"))
		}, blob.ErrSize},
		"a blob is too long": {func(w *ocilayout.Writer, _ []byte) error {
			return w.CopyBlob(t.Context(), ocispec.Descriptor{Digest: good, Size: 3}, io.MultiReader(strings.NewReader("good"), iotest.ErrReader(broken)))
		}, blob.ErrSize},
		"the manifest is cut": {func(w *ocilayout.Writer, manifest []byte) error {
			_, err := w.Commit(t.Context(), manifest[:len(manifest)-1], nil)
			if err == nil {
				return nil
			}
			return broken
		}, broken},
		"a layer is missing": {func(w *ocilayout.Writer, manifest []byte) error {
			_, err := w.Commit(t.Context(), bytes.ReplaceAll(manifest, []byte(`"size":`), []byte(`"size":1`)), nil)
			if err == nil || !strings.Contains(err.Error(), "which the manifest names, is missing") {
				return err
			}
			return broken
		}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, oci(dir+"/old:tag"), "old", ocilayout.Compression{})
			write(t, ociArchive(dir+"/old.tar"), "old", ocilayout.Compression{})
			before := list(t, dir)
			for _, dest := range []reference.Image{oci(dir + "/old:tag"), oci(dir + "/old:other"), oci(dir + "/new"), ociArchive(dir + "/old.tar"), ociArchive(dir + "/new.tar")} {
				w, err := ocilayout.New(dest, ocilayout.Options{})
				check(t, err)
				err = test.do(w, add(t, w, "new", ocilayout.Compression{}))
				if !errors.Is(err, test.want) {
					t.Errorf("%s: %v", dest, err)
				}
				check(t, w.Close())
				check(t, w.Close())
			}
			if after := list(t, dir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// TestFailedCommit wants the blobs gone that were put in their place before one could not be.
func TestFailedCommit(t *testing.T) {
	dir := t.TempDir() + "/layout"
	w := newWriter(t, oci(dir+":tag"))
	manifest := add(t, w, "image", ocilayout.Compression{})
	var m ocispec.Manifest
	check(t, json.Unmarshal(manifest, &m))
	last := slices.Max([]string{m.Config.Digest.Encoded(), m.Layers[0].Digest.Encoded(), m.Layers[1].Digest.Encoded(), digest.FromBytes(manifest).Encoded()})
	check(t, os.MkdirAll(dir+"/blobs/sha256/"+last+"/directory", 0o755)) // which no rename replaces
	if _, err := w.Commit(t.Context(), manifest, nil); err == nil {
		t.Fatal("no error")
	}
	check(t, os.RemoveAll(dir+"/blobs/sha256/"+last))
	check(t, os.Remove(dir+"/blobs/sha256"))
	check(t, os.Remove(dir+"/blobs"))
	check(t, w.Close())
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v\n%s", err, list(t, dir))
	}
}

// TestFailedIndex is about an index that is too large for the image.
func TestFailedIndex(t *testing.T) {
	dir := t.TempDir() + "/layout"
	write(t, oci(dir+":old"), "old", ocilayout.Compression{})
	before := list(t, dir)
	w := newWriter(t, oci(dir+":"+strings.Repeat("x", 1000)))
	manifest := add(t, w, "image", ocilayout.Compression{})
	raw, err := os.ReadFile(dir + "/index.json")
	check(t, err)
	var index map[string]any
	check(t, json.Unmarshal(raw, &index))
	index["annotations"] = map[string]string{"large": strings.Repeat("x", 4<<20-len(raw)-100)}
	large, err := json.Marshal(index)
	check(t, err)
	check(t, os.WriteFile(dir+"/index.json", large, 0o644))
	_, err = w.Commit(t.Context(), manifest, nil)
	wantError(t, err, "more than the 4194304 that programs accept; name another directory")
	check(t, os.WriteFile(dir+"/index.json", raw, 0o644))
	check(t, w.Close())
	if after := list(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestVanishedBlob is about a blob that somebody has deleted.
func TestVanishedBlob(t *testing.T) {
	dir := t.TempDir() + "/layout"
	write(t, oci(dir+":one"), "image", ocilayout.Compression{})
	w := newWriter(t, oci(dir+":two"))
	manifest := []byte(run(t, "skopeo", "inspect", "--raw", "oci:"+dir+":one"))
	if _, err := w.Commit(t.Context(), manifest, nil); err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	check(t, json.Unmarshal(manifest, &m))
	check(t, os.Remove(dir+"/blobs/sha256/"+m.Layers[0].Digest.Encoded()))
	w = newWriter(t, oci(dir+":three"))
	_, err := w.Commit(t.Context(), manifest, nil)
	wantError(t, err, m.Layers[0].Digest.String(), "is missing")
}

// TestDead wants the directory of a writer whose process died gone, and that of one that lives
// kept.
func TestDead(t *testing.T) {
	dir := t.TempDir() + "/layout"
	living := newWriter(t, oci(dir+":living"))
	manifest := add(t, living, "image", ocilayout.Compression{})
	dead := dir + "/.ostree-importd-dead"
	check(t, os.Mkdir(dead, 0o700))
	check(t, os.WriteFile(dead+"/lock", nil, 0o600))
	check(t, os.WriteFile(dead+"/new-1", []byte("half a blob"), 0o600))
	newWriter(t, oci(dir+":other"))
	if _, err := os.Lstat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's directory is still there: %v", err)
	}
	if _, err := living.Commit(t.Context(), manifest, nil); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/full", 0o755))
	check(t, os.WriteFile(dir+"/full/file", nil, 0o644))
	for name, files := range map[string]map[string]string{
		"version":   {"oci-layout": `{"imageLayoutVersion":"2.0.0"}`},
		"no-json":   {"oci-layout": `x`},
		"bad-index": {"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"manifests":[{"annotations":[]}]}`},
		"null":      {"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `null`},
		"large":     {"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": strings.Repeat(" ", 5<<20)},
	} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		for file, content := range files {
			check(t, os.WriteFile(filepath.Join(dir, name, file), []byte(content), 0o644))
		}
	}
	before := list(t, dir)
	for dest, want := range map[string]string{
		"docker://example.com/x:1":    "are not written here; write oci:DIR[:TAG] or oci-archive:FILE[:TAG]",
		"oci::tag":                    "there is no path before the colon",
		"oci:" + dir + "/x:":          `"" can't be a tag`,
		"oci:" + dir + "/x:a:":        `"a:" can't be a tag`,
		"oci:" + dir + "/x:-a":        `"-a" can't be a tag`,
		"oci:" + dir + "/x:a/../b":    "can't be a tag",
		"oci:" + dir + "/full:a":      "the directory is neither empty nor an OCI image layout; name another one",
		"oci:" + dir + "/full/file:a": "not a directory",
		"oci:" + dir + "/no/such:a":   "no such file or directory",
		"oci:" + dir + "/version:a":   "not that of an OCI image layout of version 1",
		"oci:" + dir + "/no-json:a":   "not that of an OCI image layout of version 1",
		"oci:" + dir + "/bad-index:a": "index.json is damaged",
		"oci:" + dir + "/null:a":      "index.json is damaged: it is null",
		"oci:" + dir + "/large:a":     "has more than 4194304 bytes",
		"oci-archive:" + dir + ":a":   "would replace something that is no file; name another one",
		"oci-archive:" + dir + "/n/a": "no such file or directory",
	} {
		image, err := reference.ParseImage(dest)
		check(t, err)
		_, err = ocilayout.New(image, ocilayout.Options{})
		wantError(t, err, "write "+dest+": ", want)
	}
	if after := list(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if _, err := ocilayout.ParseFormat("lz4"); err == nil {
		t.Error("lz4 is taken")
	}
	w := newWriter(t, oci(dir+"/good"))
	_, _, err := w.AddLayer(t.Context(), ocilayout.Compression{Format: "lz4"}, fillWith(content, "one"))
	wantError(t, err, `the compression "lz4" is unknown; write gzip, zstd or none`)
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nlacks %q", err, part)
		}
	}
}
