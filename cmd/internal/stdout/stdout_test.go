package stdout

import (
	"errors"
	"syscall"
	"testing"
)

// file fails as told.
type file struct{ write, close error }

func (f file) Write(p []byte) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return len(p), nil
}

func (f file) Close() error { return f.close }

func TestFirstErrorIsKept(t *testing.T) {
	for _, test := range []struct {
		name    string
		file    file
		written string
		want    error
	}{
		{"nothing fails", file{}, "x", nil},
		{"a full disk", file{write: syscall.ENOSPC}, "x", syscall.ENOSPC},
		{"a full disk, then its file", file{syscall.ENOSPC, syscall.EIO}, "x", syscall.ENOSPC},
		{"told late", file{close: syscall.EDQUOT}, "x", syscall.EDQUOT},
		{"nothing was written", file{close: syscall.EBADF}, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(test.file)
			for range 2 {
				if _, err := w.Write([]byte(test.written)); !errors.Is(err, test.file.write) {
					t.Errorf("Write: %v", err)
				}
			}
			if err := w.Close(); !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("Close: %v, want %v", err, test.want)
			}
		})
	}
}
