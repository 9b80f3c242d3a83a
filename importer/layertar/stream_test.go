package layertar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// sample is an archive with files of many sizes and content that compresses somewhat, on both sides
// of what is a small file.
func sample(t testing.TB) []byte {
	return archiveOf(t, 0, 1, 511, 512, 513, 70_000, blob.SmallFile, blob.SmallFile+1)
}

// smallSample is an archive that takes little time.
func smallSample(t testing.TB) []byte {
	return archiveOf(t, 0, 1, 511, 512, 513, 70_000)
}

func archiveOf(t testing.TB, sizes ...int) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	entries := []entry{dir("./"), dir("usr")}
	for i, size := range sizes {
		content := make([]byte, size)
		for j := range content {
			content[j] = "abcdefgh"[random.IntN(8)]
		}
		entries = append(entries, file(fmt.Sprintf("usr/%d", i), string(content)))
	}
	return archive(t, entries...)
}

// compress runs a compression command.
func compress(t testing.TB, data []byte, command ...string) []byte {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, command[0]), command[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (on Debian: apt install gzip zstd xz-utils)", command[0], err)
	}
	return out
}

func gzipped(t testing.TB, data []byte) []byte { return compress(t, data, "gzip", "-1c") }
func zstded(t testing.TB, data []byte) []byte  { return compress(t, data, "zstd", "-1c") }
func xzed(t testing.TB, data []byte) []byte    { return compress(t, data, "xz", "-0c") }

// skippable is a zstd frame that says nothing, like those at the end of zstd:chunked layers.
func skippable(content string) []byte {
	return append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(len(content)), 0, 0, 0}, content...)
}

func TestCompressions(t *testing.T) {
	data := sample(t)
	half := len(data)/2 + 77
	tests := []struct {
		name string
		blob []byte
	}{
		{"none", data},
		{"gzip", gzipped(t, data)},
		{"gzip members", append(gzipped(t, data[:half]), gzipped(t, data[half:])...)},
		{"zstd", zstded(t, data)},
		{"zstd long window", compress(t, data, "zstd", "-1c", "--long=27")},
		{"zstd frames with skippable ones", bytes.Join([][]byte{skippable("a"), zstded(t, data[:half]), skippable(""), zstded(t, data[half:]), skippable("trailer")}, nil)},
		{"xz", xzed(t, data)},
		{"xz streams", append(xzed(t, data[:half]), xzed(t, data[half:])...)},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	want, _ := land(t, repo, data, Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			commit, stats, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(tt.blob), layerOf(tt.blob, data), Options{Writers: 3})
			if err != nil || commit != want {
				t.Fatalf("commit %s, %v; want %s", commit, err, want)
			}
			if stats.Entries != 10 || stats.Uncompressed != int64(len(data)) {
				t.Errorf("stats %+v, want 10 entries and %d bytes", stats, len(data))
			}
		})
	}
}

// TestReaders reads from sources that give little at once, or the end together with the last bytes.
func TestReaders(t *testing.T) {
	data := smallSample(t)
	blob := zstded(t, data)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	want, _ := land(t, repo, data, Options{})
	for name, r := range map[string]io.Reader{
		"half":         iotest.HalfReader(bytes.NewReader(blob)),
		"one byte":     iotest.OneByteReader(bytes.NewReader(blob)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(blob)),
	} {
		t.Run(name, func(t *testing.T) {
			commit, _, err := Import(t.Context(), newStaging(t, repo), r, layerOf(blob, data), Options{})
			if err != nil || commit != want {
				t.Errorf("commit %s, %v; want %s", commit, err, want)
			}
		})
	}
}

// TestEmpty takes what archive tools write for nothing at all.
func TestEmpty(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	zeros := make([]byte, 10240)
	for name, data := range map[string][]byte{"nothing": {}, "one block": zeros[:512], "two blocks": zeros[:1024], "one record": zeros} {
		for how, blob := range map[string][]byte{"plain": data, "gzip": gzipped(t, data), "zstd": zstded(t, data)} {
			t.Run(name+"/"+how, func(t *testing.T) {
				_, stats, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(blob), layerOf(blob, data), Options{})
				if err != nil || stats.Entries != 0 || stats.Uncompressed != int64(len(data)) {
					t.Errorf("stats %+v, %v", stats, err)
				}
			})
		}
	}
}

// TestUnusualEnds takes archives that other tools take too, because digest and diffID say that they
// are as they should be.
func TestUnusualEnds(t *testing.T) {
	data := smallSample(t)
	tests := map[string][]byte{
		"no end marker":      data[:len(data)-1024],
		"half an end marker": data[:len(data)-512],
		"padded":             append(bytes.Clone(data), make([]byte, 1_000_000)...),
		"garbage after":      append(bytes.Clone(data), bytes.Repeat([]byte("garbage"), 200_000)...),
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			blob := zstded(t, data)
			_, stats, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(blob), layerOf(blob, data), Options{})
			if err != nil || stats.Entries != 8 || stats.Uncompressed != int64(len(data)) {
				t.Errorf("stats %+v, %v", stats, err)
			}
		})
	}
}

// badStream is a layer that must not be imported.
type badStream struct {
	name  string
	blob  []byte
	layer Layer
	want  error
}

func badStreams(t *testing.T) []badStream {
	data := smallSample(t)
	other := digest.FromString("other")
	checksumAt := map[string]int{"gzip": 8, "zstd": 4, "xz": 12} // from the end
	var tests []badStream
	add := func(name string, blob []byte, layer Layer, want error) {
		tests = append(tests, badStream{name, blob, layer, want})
	}
	for name, blob := range map[string][]byte{"none": data, "gzip": gzipped(t, data), "zstd": zstded(t, data), "xz": xzed(t, data)} {
		layer := layerOf(blob, data)
		wrong := layer
		wrong.Descriptor.Digest = other
		add(name+"/digest", blob, wrong, ErrDigest)
		wrong = layer
		wrong.DiffID = other
		add(name+"/diffID", blob, wrong, ErrDiffID)
		wrong = layer
		wrong.Descriptor.Size++
		add(name+"/one byte short", blob, wrong, ErrSize)
		wrong.Descriptor.Size -= 2
		add(name+"/one byte more", blob, wrong, ErrSize)
		for _, length := range []int{0, 1, 5, 100, 511, 512, len(blob) / 3, len(blob) - 700, len(blob) - 1} {
			add(fmt.Sprintf("%s/ends at %d", name, length), blob[:length], layer, ErrSize)
		}
		add(name+"/garbage after", append(bytes.Clone(blob), "garbage"...), layer, ErrSize)
		for _, at := range []int{3, 200, len(blob) / 2, len(blob) - 3} {
			flipped := bytes.Clone(blob)
			flipped[at] ^= 0x10
			add(fmt.Sprintf("%s/flipped at %d", name, at), flipped, layer, ErrDigest)
		}
		if name != "none" {
			for _, length := range []int{11, len(blob) / 3, len(blob) - 1} { // the publisher's own mistake: the blob is as described
				add(fmt.Sprintf("%s/compressed data ends at %d", name, length), blob[:length], layerOf(blob[:length], data), ErrTruncated)
			}
			garbage := append(bytes.Clone(blob), "garbage that is long enough for a header"...)
			add(name+"/garbage in the blob", garbage, layerOf(garbage, data), ErrCompression)
			damaged := bytes.Clone(blob)
			damaged[len(damaged)-checksumAt[name]] ^= 0x10
			add(name+"/damaged data", damaged, layerOf(damaged, data), ErrCompression)
		}
	}
	garbage := []byte("BZh9 this is not any of the known ways to compress")
	add("unknown compression", garbage, layerOf(garbage, garbage), ErrCompression)
	garbage = bytes.Repeat([]byte("long garbage"), 1000)
	add("no archive", garbage, layerOf(garbage, garbage), ErrCompression)
	blob := zstded(t, garbage)
	add("no archive inside", blob, layerOf(blob, garbage), ErrArchive)
	for _, length := range []int{512 + 100, len(data) / 2, len(data) - 1024 - 600} {
		add(fmt.Sprintf("archive ends at %d", length), data[:length], layerOf(data[:length], data[:length]), ErrTruncated)
	}
	cut := data[:512+512+512*2] // whole entries, but not the archive
	blob = zstded(t, cut)
	add("archive ends between entries", blob, layerOf(blob, data), ErrDiffID)
	add("negative size", nil, Layer{Descriptor: layerOf(data, data).Descriptor, DiffID: other}, ErrSize)
	tests[len(tests)-1].layer.Descriptor.Size = -2
	return tests
}

func TestBadStreams(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range badStreams(t) {
		t.Run(tt.name, func(t *testing.T) {
			st := newStaging(t, repo)
			commit, _, err := Import(t.Context(), st, bytes.NewReader(tt.blob), tt.layer, Options{})
			if !errors.Is(err, tt.want) {
				t.Fatalf("Import = %s, %v; want %v", commit, err, tt.want)
			}
			checkNothing(t, repo, commit)
			t.Log(err)
		})
	}
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTooMuch wants a source that gives too much to be given up at once.
func TestTooMuch(t *testing.T) {
	data := smallSample(t)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for name, blob := range map[string][]byte{"none": data, "gzip": gzipped(t, data), "zstd": zstded(t, data), "xz": xzed(t, data)} {
		t.Run(name, func(t *testing.T) {
			r := io.MultiReader(bytes.NewReader(blob), endless{})
			commit, _, err := Import(t.Context(), newStaging(t, repo), r, layerOf(blob, data), Options{})
			if !errors.Is(err, ErrSize) {
				t.Errorf("Import = %v", err)
			}
			checkNothing(t, repo, commit)
		})
	}
}

// checkNothing reports a commit object, in the repository or in any staging, and goroutines that
// still run.
func checkNothing(t *testing.T, repo *ostreerepo.Repo, commit objects.Checksum) {
	t.Helper()
	if !commit.IsZero() {
		t.Errorf("there is the commit %s", commit)
	}
	for _, pattern := range []string{"/objects/??/*.commit", "/tmp/*/objects/??/*.commit"} {
		if found, err := filepath.Glob(repo.Path() + pattern); err != nil || len(found) > 0 {
			t.Errorf("there are commits: %v, %v", found, err)
		}
	}
	checkGoroutines(t)
}

func checkGoroutines(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "blob.(*readahead)") || strings.Contains(stack, "blob.(*Writers)") || strings.Contains(stack, "blob.openStream") {
			t.Errorf("left running: %s", stack)
		}
	}
}

func TestInvalidDigests(t *testing.T) {
	data := archive(t)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, bad := range []digest.Digest{"", "sha256:ab", "md5:d41d8cd98f00b204e9800998ecf8427e", "nonsense"} {
		layer := layerOf(data, data)
		layer.Descriptor.Digest = bad
		if _, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layer, Options{}); err == nil {
			t.Errorf("the digest %q was accepted", bad)
		}
		layer = layerOf(data, data)
		layer.DiffID = bad
		if _, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layer, Options{}); err == nil {
			t.Errorf("the diffID %q was accepted", bad)
		}
	}
}

// TestSourceError wants the source's error, wherever it comes, whatever the decoders make of it.
func TestSourceError(t *testing.T) {
	data := smallSample(t)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	broken := errors.New("the source is broken")
	for name, blob := range map[string][]byte{"none": data, "gzip": gzipped(t, data), "zstd": zstded(t, data), "xz": xzed(t, data)} {
		for _, length := range []int{0, 3, 700, len(blob) / 2, len(blob)} {
			t.Run(fmt.Sprintf("%s/%d", name, length), func(t *testing.T) {
				r := io.MultiReader(bytes.NewReader(blob[:length]), iotest.ErrReader(broken))
				commit, _, err := Import(t.Context(), newStaging(t, repo), r, layerOf(blob, data), Options{})
				if err != broken {
					t.Errorf("Import = %v", err)
				}
				checkNothing(t, repo, commit)
			})
		}
	}
}

// TestRelease wants an import to end although its source gives nothing more, when it is canceled
// and when it fails.
func TestRelease(t *testing.T) {
	data := sample(t)
	bad := archive(t, file("usr/../../x", ""), file("more", strings.Repeat("x", 10_000_000)))
	canceled := errors.New("canceled")
	tests := []struct {
		name string
		data []byte
		want func(error) bool
	}{
		{"canceled", data, func(err error) bool { return err == canceled }},
		{"failed", bad, func(err error) bool { var e *EntryError; return errors.As(err, &e) }},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			r, w := io.Pipe()
			given := make(chan struct{})
			go func() {
				defer close(given)
				w.Write(tt.data[:1<<20]) // fails when the reader is closed first
				if tt.name == "canceled" {
					cancel(canceled)
				}
			}()
			commit, _, err := Import(ctx, newStaging(t, repo), r, layerOf(tt.data, tt.data), Options{})
			if !tt.want(err) {
				t.Errorf("Import = %v", err)
			}
			<-given
			checkNothing(t, repo, commit)
		})
	}
}

// TestWriteErrors wants the error of the staging, of a small file by a writer, of a large one, and
// of a directory.
func TestWriteErrors(t *testing.T) {
	tests := map[string]struct {
		entries []entry
		want    string
	}{
		"small":     {[]entry{dir("./"), dir("usr"), file("usr/small", "x")}, `writing "usr/small": `},
		"symlink":   {[]entry{dir("./"), dir("usr"), symlink("usr/link", "x")}, `writing "usr/link": `},
		"large":     {[]entry{dir("./"), dir("usr"), file("usr/large", strings.Repeat("x", blob.SmallFile+1))}, `writing "usr/large": `},
		"directory": {[]entry{dir("./")}, "writing the layer's directories: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := archive(t, tt.entries...)
			repo := newRepo(t, ostreerepo.ModeBareUser)
			st := newStaging(t, repo)
			found, err := filepath.Glob(repo.Path() + "/tmp/*/objects")
			if err != nil || len(found) != 1 {
				t.Fatalf("the staging's objects: %v, %v", found, err)
			}
			if err := os.RemoveAll(found[0]); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(found[0], nil, 0o600); err != nil {
				t.Fatal(err)
			}
			commit, _, err := Import(t.Context(), st, bytes.NewReader(data), layerOf(data, data), Options{})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Import = %v", err)
			}
			checkGoroutines(t)
			if !commit.IsZero() {
				t.Errorf("commit %s", commit)
			}
		})
	}
}
