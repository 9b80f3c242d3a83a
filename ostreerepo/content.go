package ostreerepo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// bareUserAttr holds a file's metadata in a bare-user repository.
const bareUserAttr = "user.ostreemeta"

// maxArchiveHeader bounds the header of a file in an archive repository, in bytes.
const maxArchiveHeader = 10 << 20

// OpenFile opens a content object: a regular file or a symlink, which has no content. The reader
// must be closed. It verifies the checksum: where the content is not right Read returns
// ErrCorrupted in place of io.EOF. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error) {
	return openFile(r.config.mode, r.objectPath(objects.KindFile, c), c)
}

// OpenFile opens a content object of the staging or of the repository, as Repo.OpenFile does.
// Errors: ErrNoObject, ErrCorrupted.
func (s *Staging) OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error) {
	h, content, err := openFile(s.repo.config.mode, s.objectPath(objects.KindFile, c), c)
	if errors.Is(err, ErrNoObject) {
		return s.repo.OpenFile(c)
	}
	return h, content, err
}

func openFile(mode Mode, path string, c objects.Checksum) (objects.FileHeader, io.ReadCloser, error) {
	var h objects.FileHeader
	var content io.ReadCloser
	var err error
	switch mode {
	case ModeBare:
		h, content, err = openBare(path)
	case ModeBareUser:
		h, content, err = openBareUser(path)
	case ModeArchive:
		h, content, err = openArchive(path)
	default:
		err = unsupportedMode(mode)
	}
	var broken brokenError
	switch {
	case errors.As(err, &broken):
		return objects.FileHeader{}, nil, corrupted(objects.KindFile, c, err)
	case err != nil:
		return objects.FileHeader{}, nil, readError(objects.KindFile, c, err)
	}
	verified := &verifiedReader{content: content, want: c, hash: sha256.New()}
	verified.hash.Write(h.ChecksumPrefix())
	if h.IsSymlink() {
		if _, err := verified.Read(make([]byte, 1)); err != io.EOF {
			return objects.FileHeader{}, nil, errors.Join(err, verified.Close())
		}
	}
	return h, verified, nil
}

// fileHeader reads the header of a content object and not its content, so that nothing is verified,
// in a repository of mode bare-user or archive. Errors: ErrNoObject, ErrCorrupted.
func (r *Repo) fileHeader(c objects.Checksum) (objects.FileHeader, error) {
	h, err := readHeader(r.config.mode, r.objectPath(objects.KindFile, c))
	var broken brokenError
	switch {
	case errors.As(err, &broken):
		return objects.FileHeader{}, corrupted(objects.KindFile, c, err)
	case err != nil:
		return objects.FileHeader{}, readError(objects.KindFile, c, err)
	}
	return h, nil
}

func readHeader(mode Mode, path string) (h objects.FileHeader, err error) {
	f, err := openRegular(path)
	if err != nil {
		return h, err
	}
	if mode == ModeArchive {
		h, _, err = readArchiveHeader(f)
	} else {
		h, err = readBareUserHeader(f)
	}
	return h, errors.Join(err, f.Close())
}

// brokenError says that a file could be read but is not what it should be.
type brokenError struct{ error }

func broken(format string, args ...any) error {
	return brokenError{fmt.Errorf(format, args...)}
}

// verifiedReader returns ErrCorrupted in place of io.EOF if what was read does not have the wanted
// checksum.
type verifiedReader struct {
	content io.ReadCloser
	hash    hash.Hash
	want    objects.Checksum
}

func (v *verifiedReader) Read(p []byte) (int, error) {
	n, err := v.content.Read(p)
	v.hash.Write(p[:n])
	var flaw flate.CorruptInputError
	switch {
	case err == io.EOF:
		if sum := objects.Checksum(v.hash.Sum(nil)); sum != v.want {
			return n, corrupted(objects.KindFile, v.want, fmt.Errorf("its checksum is %s", sum))
		}
	case errors.As(err, &flaw), errors.Is(err, io.ErrUnexpectedEOF):
		return n, corrupted(objects.KindFile, v.want, err)
	}
	return n, err
}

func (v *verifiedReader) Close() error {
	return v.content.Close()
}

var noContent = io.NopCloser(strings.NewReader(""))

func openBare(path string) (objects.FileHeader, io.ReadCloser, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return objects.FileHeader{}, nil, err
	}
	if info.Mode().Type() == os.ModeSymlink {
		h, err := readBareSymlink(path)
		return h, noContent, err
	}
	f, err := openRegular(path)
	if err != nil {
		return objects.FileHeader{}, nil, err
	}
	h, err := readBareHeader(int(f.Fd()))
	if err != nil {
		return objects.FileHeader{}, nil, errors.Join(err, f.Close())
	}
	return h, f, nil
}

// openRegular opens a file that must be a regular one.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = broken("it is no regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func readBareSymlink(path string) (objects.FileHeader, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return objects.FileHeader{}, err
	}
	target, err := os.Readlink(path)
	if err != nil {
		return objects.FileHeader{}, err
	}
	xattrs, err := readXattrs(
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
	return objects.FileHeader{UID: stat.Uid, GID: stat.Gid, Mode: stat.Mode, Target: target, Xattrs: xattrs}, err
}

func readBareHeader(fd int) (objects.FileHeader, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return objects.FileHeader{}, err
	}
	xattrs, err := readXattrs(
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
	return objects.FileHeader{UID: stat.Uid, GID: stat.Gid, Mode: stat.Mode, Xattrs: xattrs}, err
}

func readXattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) (objects.Xattrs, error) {
	names, err := readAttr(list)
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	var xattrs objects.Xattrs
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := readAttr(func(b []byte) (int, error) { return get(name, b) })
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %q: %w", name, err)
		}
		xattrs = append(xattrs, objects.Xattr{Name: name, Value: value})
	}
	return xattrs.Canonical(), nil
}

// readAttr asks for a size and then for that many bytes. Objects do not change, so that the size
// does not either.
func readAttr(get func([]byte) (int, error)) ([]byte, error) {
	size, err := get(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	b := make([]byte, size)
	n, err := get(b)
	return b[:max(n, 0)], err
}

func openBareUser(path string) (objects.FileHeader, io.ReadCloser, error) {
	f, err := openRegular(path)
	if err != nil {
		return objects.FileHeader{}, nil, err
	}
	h, err := readBareUserHeader(f)
	switch {
	case err != nil:
		return objects.FileHeader{}, nil, errors.Join(err, f.Close())
	case h.IsSymlink():
		return h, noContent, f.Close()
	}
	return h, f, nil
}

func readBareUserHeader(f *os.File) (objects.FileHeader, error) {
	fd := int(f.Fd())
	meta, err := readAttr(func(b []byte) (int, error) { return unix.Fgetxattr(fd, bareUserAttr, b) })
	if errors.Is(err, unix.ENODATA) {
		return objects.FileHeader{}, broken("it has no attribute %s", bareUserAttr)
	}
	if err != nil {
		return objects.FileHeader{}, err
	}
	h, err := objects.ParseBareUserMeta(meta)
	if err != nil {
		return objects.FileHeader{}, brokenError{err}
	}
	if !h.IsSymlink() {
		return h, nil
	}
	target, err := io.ReadAll(io.LimitReader(f, unix.PathMax+1))
	h.Target = string(bytes.TrimSuffix(target, []byte{0}))
	return h, err
}

// openArchive opens a file of an archive repository: a framed header, then deflated content.
func openArchive(path string) (objects.FileHeader, io.ReadCloser, error) {
	f, err := openRegular(path)
	if err != nil {
		return objects.FileHeader{}, nil, err
	}
	h, size, err := readArchiveHeader(f)
	switch {
	case err != nil:
		return objects.FileHeader{}, nil, errors.Join(err, f.Close())
	case h.IsSymlink():
		return h, noContent, f.Close()
	}
	inflated := flate.NewReader(f)
	// A byte more than promised, so that content which is too long fails its checksum.
	limited := io.LimitReader(inflated, int64(min(size, 1<<62))+1)
	return h, &archiveContent{Reader: limited, inflated: inflated, file: f}, nil
}

func readArchiveHeader(f *os.File) (objects.FileHeader, uint64, error) {
	var frame [8]byte
	if _, err := io.ReadFull(f, frame[:]); err != nil {
		return objects.FileHeader{}, 0, broken("the header is cut: %w", err)
	}
	length, err := objects.ArchiveHeaderSize(frame)
	if err != nil {
		return objects.FileHeader{}, 0, brokenError{err}
	}
	if length > maxArchiveHeader {
		return objects.FileHeader{}, 0, broken("the header has %d bytes, more than %d", length, maxArchiveHeader)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(f, b); err != nil {
		return objects.FileHeader{}, 0, broken("the header is cut: %w", err)
	}
	h, size, err := objects.ParseArchiveHeader(b)
	if err != nil {
		return objects.FileHeader{}, 0, brokenError{err}
	}
	return h, size, nil
}

// archiveContent reads inflated content and closes what it comes through.
type archiveContent struct {
	io.Reader
	inflated, file io.Closer
}

func (a *archiveContent) Close() error {
	return errors.Join(a.inflated.Close(), a.file.Close())
}
