//go:build systemimage

package systemimage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// BenchmarkPull is the import of the whole image into an empty repository, from
// the command to the commit.
func BenchmarkPull(b *testing.B) {
	forBothTags(b, func(b *testing.B, _, image string) {
		for b.Loop() {
			b.StopTimer()
			h := newHost(b)
			syscall.Sync()
			b.StartTimer()
			h.pull(b, image)
			b.ReportMetric(peakMemory(b, h.bus.Daemon()), "MB-peak")
		}
	})
}

// peakMemory is the most memory, in MB, that a process has had so far.
func peakMemory(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		b.Fatalf("VmHWM of process %d: %v", pid, err)
	}
	return kib * 1024 / 1e6
}

// BenchmarkCopyAndUntar is the yardstick: fetch all layers, then unpack one over
// the other with tar. It writes no objects, hashes no file, and knows no
// whiteouts, so what it unpacks is wrong.
func BenchmarkCopyAndUntar(b *testing.B) {
	forBothTags(b, func(b *testing.B, tag, image string) {
		for b.Loop() {
			b.StopTimer()
			work := b.TempDir()
			layout, root := filepath.Join(work, "layout"), filepath.Join(work, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				b.Fatal(err)
			}
			syscall.Sync()
			b.StartTimer()
			fixture.MustRun(b, "skopeo", "copy", "--quiet", "--src-tls-verify=false", image, "dir:"+layout)
			for _, layer := range layersOf(b, layout) {
				untar(b, tag, filepath.Join(layout, layer), root)
			}
		}
	})
}

// BenchmarkUntar is the same without the fetching: the least that anything which
// ends with the files on a disk has to do.
func BenchmarkUntar(b *testing.B) {
	layout := systemImage(b)
	for _, tag := range []string{"gzip", "zstd"} {
		b.Run(tag, func(b *testing.B) {
			copied := filepath.Join(b.TempDir(), "layout")
			fixture.MustRun(b, "skopeo", "copy", "--quiet", "oci:"+layout+":"+tag, "dir:"+copied)
			layers := layersOf(b, copied)
			for b.Loop() {
				b.StopTimer()
				root := b.TempDir()
				syscall.Sync()
				b.StartTimer()
				for _, layer := range layers {
					untar(b, tag, filepath.Join(copied, layer), root)
				}
			}
		})
	}
}

// BenchmarkCopyAndUnpack is what an OCI runtime does; umoci knows gzip only.
func BenchmarkCopyAndUnpack(b *testing.B) {
	layout := systemImage(b)
	image := push(b, fixture.StartRegistry(b), layout, "gzip")
	for b.Loop() {
		b.StopTimer()
		work := b.TempDir()
		syscall.Sync()
		b.StartTimer()
		copied := filepath.Join(work, "layout") + ":gzip"
		fixture.MustRun(b, "skopeo", "copy", "--quiet", "--src-tls-verify=false", image, "oci:"+copied)
		fixture.MustRun(b, "umoci", "unpack", "--image", copied, filepath.Join(work, "bundle"))
	}
}

func forBothTags(b *testing.B, run func(b *testing.B, tag, image string)) {
	layout := systemImage(b)
	registry := fixture.StartRegistry(b)
	for _, tag := range []string{"gzip", "zstd"} {
		image := push(b, registry, layout, tag)
		b.Run(tag, func(b *testing.B) { run(b, tag, image) })
	}
}

// layersOf are the file names of the layers in a directory that skopeo copied an
// image to.
func layersOf(b *testing.B, dir string) []string {
	b.Helper()
	listed := fixture.MustRun(b, "skopeo", "inspect", "--format", "{{range .Layers}}{{println .}}{{end}}", "dir:"+dir)
	var layers []string
	for _, digest := range strings.Fields(listed) {
		layers = append(layers, strings.TrimPrefix(digest, "sha256:"))
	}
	return layers
}

// untar unpacks a layer. The last layer of the image has no end mark, which tar
// takes for an error after it has unpacked everything.
func untar(b *testing.B, tag, layer, root string) {
	b.Helper()
	command := exec.Command("tar", "--extract", "--"+tag, "--exclude=.wh.*", "--recursive-unlink",
		"--xattrs", "--xattrs-include=*", "--file", layer, "--directory", root)
	if output, err := command.CombinedOutput(); err != nil && !strings.Contains(string(output), "Unexpected EOF") {
		b.Fatalf("tar: %v: %s", err, output)
	}
}
