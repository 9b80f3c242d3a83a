package ocilayout_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command and gives what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

func oci(path string) reference.Image {
	return reference.Image{Transport: reference.TransportOCI, Name: path}
}

func ociArchive(path string) reference.Image {
	return reference.Image{Transport: reference.TransportOCIArchive, Name: path}
}

func newWriter(t testing.TB, dest reference.Image) *ocilayout.Writer {
	t.Helper()
	w, err := ocilayout.New(dest, ocilayout.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, w.Close()) })
	return w
}

// noise is content that does not get much smaller.
func noise(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.UintN(64))
	}
	return b
}

// fillWith gives a layer of some files.
func fillWith(files map[string][]byte, names ...string) func(io.Writer) error {
	return func(to io.Writer) error {
		w := tar.NewWriter(to)
		for _, name := range names {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
				return err
			}
			if _, err := w.Write(files[name]); err != nil {
				return err
			}
		}
		return w.Close()
	}
}

// compressions are those that layers are written with.
var compressions = []ocilayout.Compression{
	{}, {Level: 1}, {Format: ocilayout.Gzip, Level: 99}, {Format: ocilayout.Zstd}, {Format: ocilayout.Zstd, Level: 19}, {Format: ocilayout.Uncompressed},
}

var content = map[string][]byte{"one": noise(1, 300_000), "two": []byte("two"), "empty": nil}

// add adds two layers and the config of an image, and gives its manifest. What name is makes a
// different image.
func add(t testing.TB, w *ocilayout.Writer, name string, c ocilayout.Compression) []byte {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers"}, Author: name}
	for _, fill := range []func(io.Writer) error{
		fillWith(content, "one", "empty"), fillWith(map[string][]byte{"name": []byte(name)}, "name"),
	} {
		d, diffID, err := w.AddLayer(t.Context(), c, fill)
		check(t, err)
		m.Layers = append(m.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	raw, err := json.Marshal(config)
	check(t, err)
	m.Config, err = w.PutBlob(t.Context(), ocispec.MediaTypeImageConfig, raw)
	check(t, err)
	raw, err = json.Marshal(m)
	check(t, err)
	return raw
}

var platform = ocispec.Platform{Architecture: "amd64", OS: "linux"}

// write writes an image.
func write(t testing.TB, dest reference.Image, name string, c ocilayout.Compression) digest.Digest {
	t.Helper()
	w := newWriter(t, dest)
	d, err := w.Commit(t.Context(), add(t, w, name, c), &platform)
	check(t, err)
	check(t, w.Close())
	return d.Digest
}

// list gives all files below a directory with their modes and digests, a line for each.
func list(t testing.TB, dir string) string {
	t.Helper()
	var lines strings.Builder
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.IsDir() {
			fmt.Fprintf(&lines, "%s %s\n", strings.TrimPrefix(path, dir), info.Mode())
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&lines, "%s %s %s\n", strings.TrimPrefix(path, dir), info.Mode(), digest.FromBytes(raw))
		return err
	}))
	return lines.String()
}

// inspect has skopeo read the manifest of an image.
func inspect(t testing.TB, image string) digest.Digest {
	t.Helper()
	return digest.FromString(run(t, "skopeo", "inspect", "--raw", image))
}

// files reads an archive.
func files(t testing.TB, raw []byte) (names []string, contents map[string][]byte) {
	t.Helper()
	contents = make(map[string][]byte)
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names, contents
		}
		check(t, err)
		if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s is of %d:%d and from %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		names = append(names, h.Name)
		contents[h.Name], err = io.ReadAll(r)
		check(t, err)
	}
}
