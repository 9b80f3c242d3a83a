package blob

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

// skippable is a skippable frame with n bytes.
func skippable(n int) []byte {
	frame := binary.LittleEndian.AppendUint32([]byte{0x5e, 0x2a, 0x4d, 0x18}, uint32(n))
	return append(frame, make([]byte, n)...)
}

// zstdSamples covers the parts of the format: kinds of blocks, checksums, known sizes, several
// frames and skippable ones.
func zstdSamples(t testing.TB) map[string][]byte {
	noise := make([]byte, 3<<20)
	rand.Read(noise)
	text := bytes.Repeat([]byte("the quick brown fox "), 200_000)
	with := func(data []byte, arguments ...string) []byte {
		return compress(t, data, append([]string{"zstd", "-c"}, arguments...)...)
	}
	return map[string][]byte{
		"empty":               with(nil),
		"text":                with(text, "-19"),
		"noise":               with(noise),
		"one byte repeated":   with(make([]byte, 5<<20)),
		"no checksum":         with(text, "--no-check"),
		"known size":          with(text, "--stream-size=4000000", "--content-size"),
		"single segment":      with([]byte("short"), "--stream-size=5"),
		"two frames":          append(with(text), with(noise, "-1")...),
		"skippable frames":    bytes.Join([][]byte{skippable(100_000), with(text), skippable(0), with(noise), skippable(1)}, nil),
		"the largest window":  with(text, "--long=27"),
		"only skippable ones": append(skippable(0), skippable(70_000)...),
	}
}

func TestZstdGuardPassesOn(t *testing.T) {
	for name, data := range zstdSamples(t) {
		t.Run(name, func(t *testing.T) {
			for _, src := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data))} {
				got, err := io.ReadAll(newZstdGuard(bufio.NewReaderSize(src, 4096), noLimit))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes came out of %d, or others", len(got), len(data))
				}
			}
			if _, err := io.Copy(io.Discard, newDecompressor(bytes.NewReader(data), budget.Alone())); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWindows: windows are refused before a decoder allocates them, in whatever frame or block they
// are.
func TestWindows(t *testing.T) {
	text := bytes.Repeat([]byte("the quick brown fox "), 1000)
	small := compress(t, text, "zstd", "-c")
	large := compress(t, text, "zstd", "-c", "--ultra", "--long=28")
	smallXZ := compress(t, text, "xz", "-0c")
	// A frame that says it is one segment of 2^40 bytes, and one with the largest window that can
	// be written.
	segment := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, binary.LittleEndian.AppendUint64(nil, 1<<40)...)
	widest := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 1, 0, 0}
	for _, test := range []struct {
		name   string
		data   []byte
		memory int64
		want   []string
	}{
		{"zstd", large, 0, []string{"a window of 256 MiB, where at most 128 MiB"}},
		{"second frame", append(bytes.Clone(small), large...), 0, []string{"at most 128 MiB"}},
		{"behind a skippable frame", append(skippable(100_000), large...), 0, []string{"at most 128 MiB"}},
		{"single segment", append(segment, 1, 0, 0), 0, []string{"a window of 1048576 MiB"}},
		{"the widest window", widest, 0, []string{"at most 128 MiB"}},
		{"zstd beyond the budget", compress(t, text, "zstd", "-c", "--long=27"), 64 << 20, []string{"at least 130 MiB", "64 MiB that all work"}},
		{"xz beyond the budget", compress(t, text, "xz", "-c", "--lzma2=dict=64MiB"), 32 << 20, []string{"at least 66 MiB", "32 MiB that all work"}},
		{"xz in the second stream", append(smallXZ, compress(t, text, "xz", "-c", "--lzma2=dict=64MiB")...), 32 << 20, []string{"at least 66 MiB"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := budget.New(test.memory).Run(t.Context(), 0, func(s *budget.Share) error {
				_, err := io.Copy(io.Discard, newDecompressor(bytes.NewReader(test.data), s))
				return err
			})
			for _, want := range test.want {
				if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
		})
	}
}

// TestMemoryOfARead: the budget is used for what is known before anything is read, and given back.
func TestMemoryOfARead(t *testing.T) {
	data := archive(t, 100_000)
	blob := compress(t, data, "zstd", "-c", "--long=27")
	for _, size := range []int64{1 << 20, 100 << 20, 200 << 20} {
		b := budget.New(size)
		err := b.Run(t.Context(), 0, func(s *budget.Share) error {
			_, err := Read(t.Context(), bytes.NewReader(blob), layerOf(blob, data), Options{Memory: s, Writers: 1}, func(_ context.Context, archive io.Reader, files *Writers) error {
				return readFiles(archive, files, func(string, []byte) error { return nil })
			})
			return err
		})
		if fits := size == 200<<20; fits != (err == nil) || !fits && !errors.Is(err, budget.ErrLimit) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := b.Run(t.Context(), size, func(*budget.Share) error { return nil }); err != nil {
			t.Error(err)
		}
		checkGoroutines(t)
	}
}

// FuzzZstdGuard sees to it that damaged data neither hangs the guard nor makes it panic.
func FuzzZstdGuard(f *testing.F) {
	f.Add(compress(f, []byte("some text"), "zstd", "-1c"))
	f.Add(append(skippable(3), compress(f, make([]byte, 1000), "zstd", "-1c")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := io.ReadAll(newZstdGuard(bufio.NewReaderSize(bytes.NewReader(data), 4096), noLimit))
		if !bytes.HasPrefix(data, got) {
			t.Fatal("the guard changed what it passed on")
		}
		if err == nil && len(got) != len(data) {
			t.Fatalf("clean end after %d of %d bytes", len(got), len(data))
		}
	})
}
