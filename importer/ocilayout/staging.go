package ocilayout

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

const writeBuffer = 256 << 10

// staging is a private directory on the file system of a destination.
type staging struct {
	*scratch.Dir
	serial atomic.Uint64
}

// newStaging makes a staging in the directory parent.
func newStaging(parent *dirfd.Dir) (*staging, error) {
	dir, err := scratch.New(parent)
	if err != nil {
		return nil, err
	}
	return &staging{Dir: dir}, nil
}

// write streams a blob into a file, whose name it returns with what the blob is.
func (s *staging) write(
	ctx context.Context, algorithm digest.Algorithm, sync bool, fill func(io.Writer) error,
) (ocispec.Descriptor, string, error) {
	name := s.temporary()
	f, err := s.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	to := &blobWriter{ctx: ctx, file: f, digester: algorithm.Digester()}
	buffered := bufio.NewWriterSize(to, writeBuffer)
	err = fill(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return ocispec.Descriptor{}, "", errors.Join(err, s.Remove(name))
	}
	return ocispec.Descriptor{Digest: to.digester.Digest(), Size: to.size}, name, nil
}

// blobWriter writes a file and sums up what it writes.
type blobWriter struct {
	ctx      context.Context
	file     *os.File
	digester digest.Digester
	size     int64
}

func (b *blobWriter) Write(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	n, err := b.file.Write(p)
	b.digester.Hash().Write(p[:n])
	b.size += int64(n)
	return n, err
}

// temporary gives a name that is not in use.
func (s *staging) temporary() string {
	return "new-" + strconv.FormatUint(s.serial.Add(1), 10)
}

// blob is the name that a complete blob gets.
func (s *staging) blob(d digest.Digest) string {
	return d.Algorithm().String() + "-" + d.Encoded()
}

// writeFile writes a small file and returns its name.
func (s *staging) writeFile(content []byte, sync bool) (string, error) {
	_, name, err := s.write(context.Background(), digest.SHA256, sync, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	return name, err
}
