package ocilayout

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
)

// archive is a layout in a tar archive.
type archive struct {
	parent *dirfd.Dir
	name   string
}

// openArchive checks that the file at path can be written or replaced.
func openArchive(path string, opened *dirfd.Dir) (place, *staging, error) {
	parent, name, err := openParent(path, opened)
	if err != nil {
		return nil, nil, err
	}
	a := &archive{parent: parent, name: name}
	s, err := a.open()
	if err != nil {
		return nil, nil, errors.Join(err, parent.Close())
	}
	return a, s, nil
}

func (a *archive) open() (*staging, error) {
	stat, err := a.parent.Stat(a.name)
	switch kind := stat.Mode & unix.S_IFMT; {
	case err == nil && kind != unix.S_IFREG && kind != unix.S_IFLNK:
		return nil, errors.New("the archive would replace something that is no file; name another one")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return newStaging(a.parent)
}

// An archive is written anew: nothing is there, and nothing was made.
func (a *archive) holds(ocispec.Descriptor) bool { return false }
func (a *archive) close() error                  { return a.parent.Close() }

// publish puts the blobs together to a file and renames it.
func (a *archive) publish(ctx context.Context, p publication) error {
	index := newIndex()
	if err := index.set(p.entry, p.tag); err != nil {
		return err
	}
	name := p.staging.temporary()
	f, err := p.staging.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = writeArchive(ctx, f, p, index)
	if err == nil && p.sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := p.staging.Rename(name, a.parent, a.name); err != nil || !p.sync {
		return err
	}
	return a.parent.Sync()
}

// writeArchive writes the entries in the order of their names.
func writeArchive(ctx context.Context, to io.Writer, p publication, index *index) error {
	w := tar.NewWriter(to)
	made := map[string]bool{}
	dir := func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755})
	}
	if err := dir(ocispec.ImageBlobsDir + "/"); err != nil {
		return err
	}
	for _, b := range p.blobs {
		in := ocispec.ImageBlobsDir + "/" + b.Digest.Algorithm().String() + "/"
		if err := dir(in); err != nil {
			return err
		}
		if err := writeBlob(ctx, w, in+b.Digest.Encoded(), p.staging, b); err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest, err)
		}
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{ocispec.ImageIndexFile, index.marshal()}, {ocispec.ImageLayoutFile, layoutFile()}} {
		if err := writeEntry(w, file.name, int64(len(file.content)), bytes.NewReader(file.content)); err != nil {
			return err
		}
	}
	return w.Close()
}

// writeBlob moves a blob into the archive: its file is deleted as soon as possible, so that no more
// than one is on the disk twice.
func writeBlob(ctx context.Context, w *tar.Writer, name string, from *staging, b ocispec.Descriptor) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := from.OpenFile(from.blob(b.Digest), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = writeEntry(w, name, b.Size, contextReader{ctx, f})
	return errors.Join(err, f.Close(), from.Remove(from.blob(b.Digest)))
}

func writeEntry(w *tar.Writer, name string, size int64, content io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, content, make([]byte, writeBuffer))
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
