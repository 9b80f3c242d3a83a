package blob

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ostree-importd/ostree-importd/importer/budget"
)

// xzSamples covers the parts of the format: check kinds, several blocks, known sizes, stored
// chunks, streams with padding between.
func xzSamples(t testing.TB) map[string][]byte {
	noise := make([]byte, 3<<20)
	rand.Read(noise)
	text := bytes.Repeat([]byte("the quick brown fox "), 200_000)
	with := func(data []byte, arguments ...string) []byte {
		return compress(t, data, append([]string{"xz", "-c"}, arguments...)...)
	}
	return map[string][]byte{
		"empty":           with(nil, "-1"),
		"text":            with(text, "-6"),
		"noise":           with(noise, "-1"),
		"no check":        with(text, "-1", "--check=none"),
		"crc32":           with(text, "-1", "--check=crc32"),
		"sha256":          with(text, "-1", "--check=sha256"),
		"several blocks":  with(append(noise, text...), "-1", "--block-size=1000000"),
		"sizes in blocks": with(text, "-1", "-T2", "--block-size=500000"),
		"two streams":     append(with(text, "-1"), with(noise, "-1")...),
		"stream padding":  append(append(with(text, "-1"), make([]byte, 8)...), with(noise, "-1")...),
		"largest allowed": with(text, "--lzma2=dict=64MiB"),
	}
}

// noLimit lets every window through.
func noLimit(int64, int64) error { return nil }

func TestXZGuardPassesOn(t *testing.T) {
	for name, data := range xzSamples(t) {
		t.Run(name, func(t *testing.T) {
			for _, src := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data))} {
				got, err := io.ReadAll(newXZGuard(bufio.NewReaderSize(src, 4096), noLimit))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes came out of %d, or others", len(got), len(data))
				}
			}
		})
	}
}

func TestXZGuardRefuses(t *testing.T) {
	text := bytes.Repeat([]byte("the quick brown fox "), 1000)
	small := compress(t, text, "xz", "-1c")
	large := compress(t, text, "xz", "-c", "--lzma2=dict=96MiB")
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"first block", large, "a window of 96 MiB, where at most 64 MiB"},
		{"second stream", append(bytes.Clone(small), large...), "a window of 96 MiB, where at most 64 MiB"},
		{"other filter", compress(t, text, "xz", "-c", "--x86", "--lzma2"), "filter 0x4 is not supported"},
		{"cut", small[:len(small)-30], "unexpected EOF"},
		{"cut in a header", small[:14], "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := io.ReadAll(newXZGuard(bufio.NewReader(bytes.NewReader(test.data)), newDecompressor(nil, budget.Alone()).need))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// FuzzXZGuard sees to it that damaged files neither hang the guard nor make it panic.
func FuzzXZGuard(f *testing.F) {
	f.Add(compress(f, []byte("some text"), "xz", "-1c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := io.ReadAll(newXZGuard(bufio.NewReaderSize(bytes.NewReader(data), 4096), noLimit))
		if !bytes.HasPrefix(data, got) {
			t.Fatal("the guard changed what it passed on")
		}
		if err == nil && len(got) != len(data) {
			t.Fatalf("clean end after %d of %d bytes", len(got), len(data))
		}
	})
}
