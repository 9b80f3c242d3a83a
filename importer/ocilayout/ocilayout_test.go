package ocilayout_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// TestReadable has skopeo verify and copy what was written, in every compression.
func TestReadable(t *testing.T) {
	for _, c := range compressions {
		t.Run(fmt.Sprintf("%s %d", c.Format, c.Level), func(t *testing.T) {
			dir := t.TempDir()
			for _, dest := range []reference.Image{oci(dir + "/untagged"), oci(dir + "/tagged:v1.0_x"), ociArchive(dir + "/archive.tar"), ociArchive(dir + "/tagged.tar:v1")} {
				want := write(t, dest, "image", c)
				if got := inspect(t, dest.String()); got != want {
					t.Errorf("%s: %s instead of %s", dest, got, want)
				}
				run(t, "skopeo", "copy", "--insecure-policy", dest.String(), fmt.Sprintf("dir:%s/copy", dir))
			}
		})
	}
}

func TestUmoci(t *testing.T) {
	dir := t.TempDir()
	write(t, oci(dir+"/layout:v1"), "image", ocilayout.Compression{})
	run(t, "umoci", "unpack", "--image", dir+"/layout:v1", dir+"/bundle")
	for name, want := range map[string][]byte{"one": content["one"], "empty": {}, "name": []byte("image")} {
		got, err := os.ReadFile(filepath.Join(dir, "bundle/rootfs", name))
		check(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes", name, len(got))
		}
	}
}

// TestReproducible writes the same image twice.
func TestReproducible(t *testing.T) {
	for _, c := range compressions {
		t.Run(fmt.Sprintf("%s %d", c.Format, c.Level), func(t *testing.T) {
			dir := t.TempDir()
			var layouts, archives [2]string
			for i := range 2 {
				write(t, oci(fmt.Sprintf("%s/%d:tag", dir, i)), "image", c)
				write(t, ociArchive(fmt.Sprintf("%s/%d.tar:tag", dir, i)), "image", c)
				layouts[i] = list(t, fmt.Sprintf("%s/%d", dir, i))
				archives[i] = list(t, fmt.Sprintf("%s/%d.tar", dir, i))
			}
			if layouts[0] != layouts[1] || archives[0] != archives[1] {
				t.Errorf("%s\n%s\n%s\n%s", layouts[0], layouts[1], archives[0], archives[1])
			}
			if !strings.Contains(layouts[0], "/index.json -rw-r--r--") || strings.Contains(layouts[0], "importd") {
				t.Error(layouts[0])
			}
		})
	}
}

func TestArchiveEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	write(t, ociArchive(path), "image", ocilayout.Compression{})
	raw, err := os.ReadFile(path)
	check(t, err)
	names, contents := files(t, raw)
	if !slices.IsSorted(names) || len(names) != 8 || names[0] != "blobs/" || names[1] != "blobs/sha256/" {
		t.Errorf("entries %q", names)
	}
	for name, content := range contents {
		if sum, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && sum != "" && digest.FromBytes(content).Encoded() != sum {
			t.Errorf("%s is not right", name)
		}
	}
}

// TestTags wants other images kept, and a tag moved.
func TestTags(t *testing.T) {
	dir := t.TempDir() + "/layout"
	one := write(t, oci(dir+":one"), "first", ocilayout.Compression{})
	two := write(t, oci(dir+":two"), "second", ocilayout.Compression{})
	if a, b := inspect(t, "oci:"+dir+":one"), inspect(t, "oci:"+dir+":two"); a != one || b != two {
		t.Errorf("%s, %s", a, b)
	}
	one = write(t, oci(dir+":one"), "third", ocilayout.Compression{})
	if a, b := inspect(t, "oci:"+dir+":one"), inspect(t, "oci:"+dir+":two"); a != one || b != two {
		t.Errorf("%s, %s", a, b)
	}
	if names := tags(t, dir); !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("tags %q", names)
	}
	_, err := ocilayout.New(oci(dir), ocilayout.Options{})
	wantError(t, err, "write oci:"+dir+": the layout holds other images; write oci:DIR:TAG")
}

// tags lists the tags in an index.
func tags(t testing.TB, dir string) (names []string) {
	t.Helper()
	raw, err := os.ReadFile(dir + "/index.json")
	check(t, err)
	var index ocispec.Index
	check(t, json.Unmarshal(raw, &index))
	for _, m := range index.Manifests {
		names = append(names, m.Annotations[ocispec.AnnotationRefName])
	}
	return names
}

// TestUntagged replaces the only image of a layout.
func TestUntagged(t *testing.T) {
	dir := t.TempDir() + "/layout"
	write(t, oci(dir), "first", ocilayout.Compression{})
	want := write(t, oci(dir), "second", ocilayout.Compression{})
	if got := inspect(t, "oci:"+dir); got != want || len(tags(t, dir)) != 1 {
		t.Errorf("%s, tags %q", got, tags(t, dir))
	}
}

// TestForeignLayout adds to a layout that skopeo made, and keeps what is unknown in its index.
func TestForeignLayout(t *testing.T) {
	dir := t.TempDir()
	theirs := write(t, oci(dir+"/mine:tag"), "theirs", ocilayout.Compression{})
	run(t, "skopeo", "copy", "--insecure-policy", "oci:"+dir+"/mine:tag", "oci:"+dir+"/layout:theirs")
	raw, err := os.ReadFile(dir + "/layout/index.json")
	check(t, err)
	raw = bytes.Replace(raw, []byte(`"digest"`), []byte(`"unknown":{"z":1,"a":12345678901234567890},"digest"`), 1)
	raw = bytes.Replace(raw, []byte(`{`), []byte(`{"annotations":{"of":"the index"},`), 1)
	check(t, os.WriteFile(dir+"/layout/index.json", raw, 0o644))
	ours := write(t, oci(dir+"/layout:ours"), "ours", ocilayout.Compression{})
	if a, b := inspect(t, "oci:"+dir+"/layout:theirs"), inspect(t, "oci:"+dir+"/layout:ours"); a != theirs || b != ours {
		t.Errorf("%s, %s", a, b)
	}
	raw, err = os.ReadFile(dir + "/layout/index.json")
	check(t, err)
	for _, kept := range []string{`"unknown":{"z":1,"a":12345678901234567890}`, `{"of":"the index"}`} {
		if !bytes.Contains(raw, []byte(kept)) {
			t.Errorf("%s is lost: %s", kept, raw)
		}
	}
}

// TestParallel has many writers of different tags begin and end in one directory, some of which
// give up.
func TestParallel(t *testing.T) {
	dir := t.TempDir() + "/layout"
	const n = 12
	want := make([]digest.Digest, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			w, err := ocilayout.New(oci(fmt.Sprintf("%s:tag%d", dir, i)), ocilayout.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			manifest := add(t, w, fmt.Sprint(i), ocilayout.Compression{Level: 1})
			if i%3 == 2 {
				return
			}
			d, err := w.Commit(t.Context(), manifest, nil)
			if err != nil {
				t.Error(err)
			}
			want[i] = d.Digest
		})
	}
	all.Wait()
	for i, d := range want {
		if d != "" && inspect(t, fmt.Sprintf("oci:%s:tag%d", dir, i)) != d {
			t.Errorf("tag%d is not right", i)
		}
	}
	if names := tags(t, dir); len(names) != n*2/3 {
		t.Errorf("tags %q", names)
	}
	checkClean(t, dir)
}

// TestDamagedBlobs: a blob that is at the destination with its size and another content, as a loss
// of power leaves it, is written once more; a sound one stays.
func TestDamagedBlobs(t *testing.T) {
	dir := t.TempDir()
	write(t, oci(dir+"/to:one"), "image", ocilayout.Compression{})
	files, err := filepath.Glob(dir + "/to/blobs/sha256/*")
	check(t, err)
	sound, err := os.Stat(files[0])
	check(t, err)
	for _, file := range files[1:] {
		info, err := os.Stat(file)
		check(t, err)
		check(t, os.WriteFile(file, make([]byte, info.Size()), 0o644))
	}
	write(t, oci(dir+"/to:two"), "image", ocilayout.Compression{})
	for _, file := range files {
		content, err := os.ReadFile(file)
		check(t, err)
		if digest.FromBytes(content).Encoded() != filepath.Base(file) {
			t.Errorf("%s is still damaged", filepath.Base(file))
		}
	}
	if now, err := os.Stat(files[0]); err != nil || !os.SameFile(now, sound) {
		t.Errorf("a sound blob was written again (%v)", err)
	}
	for _, tag := range []string{"one", "two"} {
		run(t, "skopeo", "copy", "--insecure-policy", "oci:"+dir+"/to:"+tag, "dir:"+dir+"/copy-"+tag)
	}
}

// TestExistingBlobs copies an image as it is, with blobs that are there already.
func TestExistingBlobs(t *testing.T) {
	dir := t.TempDir()
	write(t, oci(dir+"/from:tag"), "image", ocilayout.Compression{})
	write(t, oci(dir+"/to:other"), "image", ocilayout.Compression{})
	raw := []byte(run(t, "skopeo", "inspect", "--raw", "oci:"+dir+"/from:tag"))
	var m ocispec.Manifest
	check(t, json.Unmarshal(raw, &m))
	blobs := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	at := func(layout string, d ocispec.Descriptor) string {
		return dir + "/" + layout + "/blobs/sha256/" + d.Digest.Encoded()
	}
	check(t, os.Remove(at("to", blobs[1])))
	check(t, os.WriteFile(at("to", blobs[2]), []byte("cut"), 0o644))
	kept, err := os.Stat(at("to", blobs[0]))
	check(t, err)

	w := newWriter(t, oci(dir+"/to:tag"))
	for i, d := range blobs {
		if has := w.Has(d); has != (i == 0) {
			t.Errorf("blob %d is there: %v", i, has)
		}
		content, err := os.ReadFile(at("from", d))
		check(t, err)
		check(t, w.CopyBlob(t.Context(), d, bytes.NewReader(content)))
		if !w.Has(d) || w.Has(ocispec.Descriptor{Digest: d.Digest, Size: d.Size + 1}) || w.Has(ocispec.Descriptor{Digest: "../x", Size: -1}) {
			t.Errorf("blob %d is not known", i)
		}
	}
	got, err := w.Commit(t.Context(), raw, nil)
	check(t, err)
	if got.Digest != digest.FromBytes(raw) || got.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("descriptor %v", got)
	}
	run(t, "skopeo", "copy", "--insecure-policy", "oci:"+dir+"/to:tag", "dir:"+dir+"/copy")
	if now, err := os.Stat(at("to", blobs[0])); err != nil || !os.SameFile(now, kept) {
		t.Errorf("a blob that was there was replaced: %v", err)
	}
}
