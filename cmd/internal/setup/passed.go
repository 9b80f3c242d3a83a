package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

const (
	// maxCopied bounds, in bytes, the files of a directory that skopeo gets copies of: it bounds
	// manifests and configs alike.
	maxCopied = 4 << 20
	// maxCopies bounds how many these are, and maxCopiedSum all of them together, in bytes.
	maxCopies    = 16384
	maxCopiedSum = 1 << 30
	// copyDepth is how deep the files of an OCI layout lie: blobs/ALGORITHM/DIGEST.
	copyDepth = 3
)

// passedImage is an image that the caller has opened. skopeo needs a path to it. It cannot get one
// to the caller's file: a mount of another mount namespace cannot be cloned here. So it gets a
// copy: of an archive, which it would unpack anyway, and of the small files of a directory. Layers
// are read from the directory itself, with the caller's rights; who asked for them verifies them.
//
// skopeo sees the copy at a path of its own, which no scope of a signature policy names: what a
// policy permits at one path only is refused, since nothing proves that the caller's file is there.
type passedImage struct {
	copy  *tempdir.Dir
	image reference.Image // the copy
	named reference.Image // what the caller calls it
	dir   *dirfd.Dir      // nil for an archive
}

// copyPassed makes the copy, for a user of which nil is our own.
func copyPassed(ctx context.Context, image reference.Image, d *importer.Descriptor, user *command.User) (_ *passedImage, err error) {
	p := &passedImage{named: image}
	defer func() {
		if err != nil {
			err = passedError(image, errors.Join(err, p.close()))
		}
	}()
	if p.copy, err = tempdir.New(tempdir.Shared, tempdir.SharedPrefix+"image-"); err != nil {
		return nil, err
	}
	if err := p.copy.Share(); err != nil {
		return nil, err
	}
	path, rest, _ := image.Path()
	at := p.copy.Path("image")
	p.image = reference.Image{Transport: image.Transport, Name: at + rest}
	c := &copier{ctx: ctx, user: user}
	if image.Transport == reference.TransportOCI || image.Transport == reference.TransportDir {
		if p.dir, err = d.OpenDir(); err == nil {
			err = c.dir(p.dir, at, copyDepth)
		}
		return p, err
	}
	content, err := d.Content()
	if err != nil {
		return nil, err
	}
	if err := c.file(content, at); err != nil {
		return nil, fmt.Errorf("copy %s: %w", path, err)
	}
	return p, nil
}

// passedError finds the kind of an error with a file that the caller has passed.
func passedError(image reference.Image, err error) error {
	e := &importer.Error{Kind: importer.KindFailed, Stage: importer.StageOpen, Err: fmt.Errorf("%s: %w", image, err)}
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind = importer.KindCanceled
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Kind, e.Hint = importer.KindNoSpace, "free space in "+tempdir.Shared
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Hint = importer.KindAccessDenied, "you need to be able to read all of the image"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR):
		e.Kind = importer.KindReferenceNotFound
	}
	return e
}

// copier copies what the user may read, and nobody else.
type copier struct {
	ctx    context.Context
	user   *command.User
	copies int
	bytes  int64
}

// dir copies the small files of a directory, and of those in it down to a depth.
func (c *copier) dir(from *dirfd.Dir, to string, depth int) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	names, err := from.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.entry(from, name, filepath.Join(to, name), depth); err != nil {
			return err
		}
	}
	return c.give(to)
}

func (c *copier) entry(from *dirfd.Dir, name, to string, depth int) error {
	stat, err := from.Stat(name)
	if err != nil {
		return err
	}
	switch kind := stat.Mode & unix.S_IFMT; {
	case kind == unix.S_IFDIR && depth > 1:
		below, err := from.OpenDir(name)
		if err != nil {
			return err
		}
		return errors.Join(c.dir(below, to, depth-1), below.Close())
	case kind != unix.S_IFREG || stat.Size > maxCopied:
		return nil
	}
	c.copies, c.bytes = c.copies+1, c.bytes+stat.Size
	if c.copies > maxCopies || c.bytes > maxCopiedSum {
		return fmt.Errorf("the directory has more than %d small files, or more than %d bytes in them", maxCopies, maxCopiedSum)
	}
	f, err := from.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(c.file(io.LimitReader(f, maxCopied), to), f.Close())
}

// file copies a file.
func (c *copier) file(from io.Reader, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, stopping{c.ctx, from})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return c.give(to)
}

// give hands a copy to the user.
func (c *copier) give(path string) error {
	if c.user == nil {
		return nil
	}
	return os.Chown(path, int(c.user.UID), int(c.user.GID))
}

// stopping ends with its context.
type stopping struct {
	ctx context.Context
	io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(p)
}

// blob opens a layer in the caller's directory.
func (p *passedImage) blob(d digest.Digest) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if p.named.Transport == reference.TransportDir {
		return p.dir.OpenFile(d.Encoded(), os.O_RDONLY, 0)
	}
	at := p.dir
	for _, name := range []string{ocispec.ImageBlobsDir, d.Algorithm().String()} {
		below, err := at.OpenDir(name)
		if err != nil {
			return nil, err
		}
		defer below.Close()
		at = below
	}
	return at.OpenFile(d.Encoded(), os.O_RDONLY, 0)
}

// rename has an error speak of the caller's image, not of the copy.
func (p *passedImage) rename(err error) error {
	var e *importer.Error
	if err == nil || !errors.As(err, &e) || e.Err == nil {
		return err
	}
	named, _, _ := p.named.Path()
	renamed := *e
	renamed.Err = renamedError{e.Err, strings.NewReplacer(p.copy.Path("image"), named)}
	return &renamed
}

// renamedError is an error in whose text a path is another one.
type renamedError struct {
	error
	text *strings.Replacer
}

func (r renamedError) Error() string { return r.text.Replace(r.error.Error()) }
func (r renamedError) Unwrap() error { return r.error }

func (p *passedImage) close() error {
	var err error
	if p.dir != nil {
		err = p.dir.Close()
	}
	if p.copy != nil {
		err = errors.Join(err, p.copy.Close())
	}
	return err
}

// passedSource is a source whose image the caller has opened.
type passedSource struct {
	source
	image *passedImage
}

// Manifest implements importer.Source.
func (s passedSource) Manifest(ctx context.Context) ([]byte, digest.Digest, error) {
	raw, dgst, err := s.source.Manifest(ctx)
	return raw, dgst, s.image.rename(err)
}

// Config implements importer.Source.
func (s passedSource) Config(ctx context.Context) ([]byte, error) {
	raw, err := s.source.Config(ctx)
	return raw, s.image.rename(err)
}

// Blob implements importer.Source.
func (s passedSource) Blob(ctx context.Context, descriptor ocispec.Descriptor) (io.ReadCloser, error) {
	if s.image.dir == nil {
		stream, err := s.source.Blob(ctx, descriptor)
		return stream, s.image.rename(err)
	}
	opened, err := s.image.blob(descriptor.Digest)
	if err != nil {
		return nil, passedError(s.image.named, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{stopping{ctx, opened}, opened}, nil
}

// Close implements importer.Source.
func (s passedSource) Close() error { return errors.Join(s.source.Close(), s.image.close()) }
