package roottree

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// content is an open content object.
type content struct {
	objects.FileHeader
	checksum objects.Checksum
	size     int64 // of a regular file
	io.ReadCloser
}

// open opens a content object.
func open(source Source, c objects.Checksum) (*content, error) {
	h, r, err := source.OpenFile(c)
	if err != nil {
		return nil, err
	}
	opened := &content{FileHeader: h, checksum: c, ReadCloser: r}
	if h.IsSymlink() {
		return opened, nil
	}
	size, err := source.FileSize(c)
	if err == nil && size > maxSize {
		err = opened.wrongSize(size)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	opened.size = int64(size)
	return opened, nil
}

// maxSize bounds what an object's file may say that it has.
const maxSize = 1 << 62

// copyTo writes the whole content, which is verified when copyTo returns.
func (c *content) copyTo(ctx context.Context, w io.Writer, buffer []byte) error {
	// To the end, where the content is verified; one that has none ends after a byte too many.
	r := io.LimitReader(contextReader{ctx, c}, c.size+1)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, r, buffer)
	if err == nil && n != c.size {
		err = c.wrongSize(uint64(c.size))
	}
	return err
}

// contextReader fails when its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

func (c *content) wrongSize(said uint64) error {
	return fmt.Errorf("%w: file %s does not have the %d bytes that it should have; `ostree fsck` lists what is wrong",
		ostreerepo.ErrCorrupted, c.checksum, said)
}
