package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// TestMemory pulls images whose layers ask for much memory, all of them at once, and looks at what
// the process has used at most.
func TestMemory(t *testing.T) {
	fixture.Tool(t, "skopeo")
	const mib = 1 << 20
	peak := func(cmd *exec.Cmd) int64 { return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 }
	for _, test := range []struct {
		name   string
		layers int
		layer  func(*testing.T, int) (blob []byte, diffID digest.Digest)
		memory int // MiB
		limit  int64
		want   string // a part of the error, "" for success
	}{
		{"zstd windows of 128 MiB", 5, zstdLayer, 160, 450 * mib, ""},
		{"xz dictionaries of 64 MiB", 5, xzLayer, 100, 350 * mib, ""},
		{"a window that never fits", 1, zstdLayer, 100, 250 * mib, "at least 1"},
		{"many directories", 1, directoriesLayer, 100, 350 * mib, "the 100 MiB that all work on images has"},
	} {
		t.Run(test.name, func(t *testing.T) {
			repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
			fixture.NoSync(t, repo)
			image := "oci:" + writeLayers(t, test.layers, test.layer) + ":tag"
			cmd := exec.Command(fixture.Command(t, "ostree-importctl"), "--local", "--json", "--repo="+repo.Path(),
				fmt.Sprintf("--memory=%d", test.memory), "pull", "--jobs=16", image)
			var messages strings.Builder
			cmd.Stderr = &messages
			out, err := cmd.Output()
			if (err == nil) != (test.want == "") || !strings.Contains(messages.String(), test.want) {
				t.Fatalf("%v, %s", err, messages.String())
			}
			// The kernel charges a process with what its parent has used before it, at least.
			idle := exec.Command(cmd.Path, "--version")
			if err := idle.Run(); err != nil {
				t.Fatal(err)
			}
			if used := peak(cmd); used > max(test.limit, peak(idle)) {
				t.Errorf("%d MiB were used, more than %d", used/mib, test.limit/mib)
			}
			if err != nil {
				return
			}
			var result importer.Result
			if err := json.Unmarshal(out, &result); err != nil || len(result.Layers) != test.layers {
				t.Errorf("result %s, %v", out, err)
			}
		})
	}
}

// writeLayers writes a layout with the tag "tag" of an image with these layers.
func writeLayers(t *testing.T, n int, layer func(*testing.T, int) ([]byte, digest.Digest)) string {
	t.Helper()
	blobs := map[digest.Digest][]byte{}
	spec := ociimage.Spec{Damage: func(m *ocispec.Manifest, c *ocispec.Image) {
		for i := range n {
			blob, diffID := layer(t, i)
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
			blobs[d.Digest] = blob
			m.Layers = append(m.Layers, d)
			c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, diffID)
		}
	}}
	img, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	for d, blob := range blobs {
		img.Blobs[d] = blob
	}
	dir := filepath.Join(fixture.PublicDir(t), "layout")
	if err := img.WriteLayout(dir, "tag"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// zeros is the size of the file of zeros that a layer holds.
const zeros = 132 << 20

// zstdLayer makes a layer that needs the largest window and fills it, of blocks that repeat one
// byte.
func zstdLayer(t *testing.T, number int) ([]byte, digest.Digest) {
	const block, runLength, magicAndWindow = 128 << 10, 1 << 1, "\x28\xb5\x2f\xfd\x00\x88"
	frame := bytes.NewBufferString(magicAndWindow)
	header := tarHeader(t, number)
	put := func(kind, size int) { frame.Write([]byte{byte(size<<3 | kind), byte(size >> 5), byte(size >> 13)}) }
	put(0, len(header))
	frame.Write(header)
	for range zeros / block {
		put(runLength, block)
		frame.WriteByte(0)
	}
	put(runLength|1, 1024)
	frame.WriteByte(0)
	return frame.Bytes(), diffIDOf(header)
}

// tarHeader makes the header of the file of zeros.
func tarHeader(t *testing.T, number int) []byte {
	t.Helper()
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/zeros%d", number), Size: zeros, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	return header.Bytes()
}

// diffIDOf gives the digest of an archive with the file of zeros.
func diffIDOf(header []byte) digest.Digest {
	sum := sha256.New()
	sum.Write(header)
	writeZeros(sum)
	return digest.NewDigest(digest.SHA256, sum)
}

// writeZeros writes what follows the header in an archive with the file of zeros.
func writeZeros(w io.Writer) {
	block := make([]byte, 1<<20)
	for range zeros / len(block) {
		w.Write(block)
	}
	w.Write(block[:1024])
}

// xzLayer makes a layer that needs the largest dictionary and fills it.
func xzLayer(t *testing.T, number int) ([]byte, digest.Digest) {
	header := tarHeader(t, number)
	return compressed(t, func(w io.Writer) {
		w.Write(header)
		writeZeros(w)
	}, "xz", "-c", "--lzma2=preset=0,dict=64MiB"), diffIDOf(header)
}

// directoriesLayer makes a layer of a million directories.
func directoriesLayer(t *testing.T, _ int) ([]byte, digest.Digest) {
	sum := sha256.New()
	blob := compressed(t, func(w io.Writer) {
		archive := tar.NewWriter(io.MultiWriter(w, sum))
		for i := range 1 << 20 {
			archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("usr/%d/%d/", i>>10, i), Mode: 0o755})
		}
		archive.Close()
	}, "zstd", "-c", "-1")
	return blob, digest.NewDigest(digest.SHA256, sum)
}

// compressed has a command compress what is written.
func compressed(t *testing.T, write func(io.Writer), command ...string) []byte {
	t.Helper()
	fixture.Tool(t, command[0])
	cmd := exec.Command(command[0], command[1:]...)
	var out bytes.Buffer
	cmd.Stdout = &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write(in)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
