package blob

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

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

// archive makes an archive of files of the given sizes.
func archive(t testing.TB, sizes ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, size := range sizes {
		content := bytes.Repeat([]byte{byte('a' + i)}, size)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i), Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(blob, archive []byte) Layer {
	return Layer{
		Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))},
		DiffID:     digest.FromBytes(archive),
	}
}

// readFiles hands the contents of an archive to writers, and gives what these got.
func readFiles(archive io.Reader, files *Writers, write func(name string, content []byte) error) error {
	source := tar.NewReader(archive)
	for {
		h, err := source.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return ArchiveError(err)
		}
		err = files.Write(h.Size, source, func(r io.Reader) error {
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			return write(h.Name, content)
		})
		if err != nil {
			return ArchiveError(err)
		}
	}
}

// checkGoroutines reports what still runs.
func checkGoroutines(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, name := range []string{"blob.(*readahead)", "blob.(*Writers)", "blob.openStream"} {
			if strings.Contains(stack, name) {
				t.Errorf("left running: %s", stack)
			}
		}
	}
}

func TestRead(t *testing.T) {
	sizes := []int{0, 1, 511, 70_000, SmallFile, SmallFile + 1, 3 << 20}
	data := archive(t, sizes...)
	for name, blob := range map[string][]byte{
		"none": data, "gzip": compress(t, data, "gzip", "-1c"), "zstd": compress(t, data, "zstd", "-1c"), "xz": compress(t, data, "xz", "-0c"),
	} {
		t.Run(name, func(t *testing.T) {
			var written atomic.Int32
			n, err := Read(t.Context(), bytes.NewReader(blob), layerOf(blob, data), Options{Writers: 3}, func(_ context.Context, archive io.Reader, files *Writers) error {
				return readFiles(archive, files, func(name string, content []byte) error {
					written.Add(1)
					i := int(name[0] - '0')
					if len(content) != sizes[i] || bytes.Count(content, []byte{byte('a' + i)}) != sizes[i] {
						return fmt.Errorf("the content of %s is not right", name)
					}
					return nil
				})
			})
			if err != nil || n != int64(len(data)) || int(written.Load()) != len(sizes) {
				t.Errorf("%d of %d bytes, %d of %d files, %v", n, len(data), written.Load(), len(sizes), err)
			}
			checkGoroutines(t)
		})
	}
}

// TestReadLess wants everything verified although the caller reads no byte.
func TestReadLess(t *testing.T) {
	data := archive(t, 100_000)
	nothing := func(context.Context, io.Reader, *Writers) error { return nil }
	if n, err := Read(t.Context(), bytes.NewReader(data), layerOf(data, data), Options{Writers: 0}, nothing); err != nil || n != int64(len(data)) {
		t.Errorf("%d bytes, %v", n, err)
	}
	damaged := bytes.Clone(data)
	damaged[len(damaged)-1] = 1
	if _, err := Read(t.Context(), bytes.NewReader(damaged), layerOf(data, data), Options{Writers: 0}, nothing); !errors.Is(err, ErrDigest) {
		t.Errorf("Read = %v", err)
	}
	if _, err := Read(t.Context(), bytes.NewReader(damaged), layerOf(damaged, data), Options{Writers: 0}, nothing); !errors.Is(err, ErrDiffID) {
		t.Errorf("Read = %v", err)
	}
}

// TestFirstError wants the error that came first: of the caller, of a writer, of the source, of the
// context.
func TestFirstError(t *testing.T) {
	broken, canceled := errors.New("broken"), errors.New("canceled")
	data := archive(t, 10, 20, SmallFile+1)
	fine := func(string, []byte) error { return nil }
	for name, test := range map[string]struct {
		r     io.Reader
		read  func(ctx context.Context, archive io.Reader, files *Writers) error
		layer Layer
		want  error
	}{
		"caller": {bytes.NewReader(data), func(context.Context, io.Reader, *Writers) error { return broken }, layerOf(data, data), broken},
		"writer of a small file": {bytes.NewReader(data), func(ctx context.Context, archive io.Reader, files *Writers) error {
			return readFiles(archive, files, func(name string, _ []byte) error {
				if name == "1" {
					return broken
				}
				return nil
			})
		}, layerOf(data, data), broken},
		"writer of a large file": {bytes.NewReader(data), func(ctx context.Context, archive io.Reader, files *Writers) error {
			return readFiles(archive, files, func(name string, _ []byte) error {
				if name == "2" {
					return broken
				}
				return nil
			})
		}, layerOf(data, data), broken},
		"source": {io.MultiReader(bytes.NewReader(data[:1000]), iotest.ErrReader(broken)), func(_ context.Context, archive io.Reader, files *Writers) error {
			return readFiles(archive, files, fine)
		}, layerOf(data, data), broken},
		"damage, for which a wrong blob is to blame": {bytes.NewReader(data[:515]), func(_ context.Context, archive io.Reader, files *Writers) error {
			return readFiles(archive, files, fine)
		}, layerOf(data, data), ErrSize},
		"damage in the right blob": {bytes.NewReader(data[:515]), func(_ context.Context, archive io.Reader, files *Writers) error {
			return readFiles(archive, files, fine)
		}, layerOf(data[:515], data[:515]), ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Read(t.Context(), test.r, test.layer, Options{Writers: 1}, test.read); !errors.Is(err, test.want) {
				t.Errorf("Read = %v", err)
			}
			checkGoroutines(t)
		})
	}
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		r, w := io.Pipe()
		defer w.Close()
		_, err := Read(ctx, r, layerOf(data, data), Options{Writers: 1}, func(_ context.Context, archive io.Reader, files *Writers) error {
			cancel(canceled)
			return readFiles(archive, files, fine)
		})
		if err != canceled {
			t.Errorf("Read = %v", err)
		}
		checkGoroutines(t)
	})
}

// TestLastWriter wants Read to wait for the last writer, which fails when everything is read.
func TestLastWriter(t *testing.T) {
	broken := errors.New("broken")
	data := archive(t, 10)
	done := make(chan struct{})
	_, err := Read(t.Context(), bytes.NewReader(data), layerOf(data, data), Options{Writers: 1}, func(_ context.Context, archive io.Reader, files *Writers) error {
		defer close(done)
		return readFiles(archive, files, func(string, []byte) error {
			<-done
			return broken
		})
	})
	if err != broken {
		t.Errorf("Read = %v", err)
	}
}

// TestReaderError wants the error of a content's reader as it is, whatever a writer makes of it.
func TestReaderError(t *testing.T) {
	broken := errors.New("broken")
	data := archive(t, 10)
	for _, size := range []int64{10, SmallFile + 1} {
		var got error
		_, err := Read(t.Context(), bytes.NewReader(data), layerOf(data, data), Options{Writers: 1}, func(_ context.Context, _ io.Reader, files *Writers) error {
			got = files.Write(size, iotest.ErrReader(broken), func(content io.Reader) error {
				_, err := io.Copy(io.Discard, content)
				return fmt.Errorf("writing: %w", err)
			})
			return nil
		})
		if err != nil || got != broken {
			t.Errorf("%d bytes: got %v, and %v in the end", size, got, err)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := Quote("a\n\"é"), `"a\n\"é"`; got != want {
		t.Errorf("%s instead of %s", got, want)
	}
	if got := Quote(strings.Repeat("x", 1000)); len(got) > maxQuoted+10 {
		t.Errorf("%d bytes", len(got))
	}
}
