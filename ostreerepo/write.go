package ostreerepo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// smallFile is the largest content, in bytes, that is hashed in memory before it is decided
	// whether to write it at all.
	smallFile = 1 << 20
	// copyBuffer is the size of the pieces in which larger content is hashed and written.
	copyBuffer = 256 << 10
)

// buffers holds *[]byte with a capacity of at least copyBuffer.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, copyBuffer)
	return &b
}}

// WriteFile writes a regular file whose content is what the reader gives up to its end: exactly
// size bytes, or it is an error. The header gets its canonical form, or gives ErrInvalid. An object
// that the staging or the repository has is not written again. An error of the reader is wrapped.
// Other errors: ErrNotKept, ErrNoSpace, ErrReadOnly.
func (s *Staging) WriteFile(h objects.FileHeader, size int64, content io.Reader) (objects.Checksum, error) {
	h, err := canonicalFile(h)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("write file: %w", err)
	}
	c, err := s.writeFile(h, size, content, nil)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("write file: %w", withCause(err))
	}
	return c, nil
}

// canonicalFile gives the header of a file or symlink the form that new ones have.
func canonicalFile(h objects.FileHeader) (objects.FileHeader, error) {
	h, err := h.Canonical()
	if err == nil {
		err = h.Valid()
	}
	if err != nil {
		return h, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return h, nil
}

// writeFile writes a regular file as it is. Where want is not nil the checksum must be that one
// before the object gets its name.
func (s *Staging) writeFile(h objects.FileHeader, size int64, content io.Reader, want *objects.Checksum) (objects.Checksum, error) {
	switch err := h.Valid(); {
	case err != nil:
		return objects.Checksum{}, err
	case h.IsSymlink():
		return objects.Checksum{}, errors.New("a symlink has no content")
	case size < 0:
		return objects.Checksum{}, fmt.Errorf("a size of %d bytes", size)
	case size <= smallFile:
		return s.writeSmall(h, int(size), content, want)
	}
	return s.writeLarge(h, size, content, want)
}

func (s *Staging) writeSmall(h objects.FileHeader, size int, content io.Reader, want *objects.Checksum) (objects.Checksum, error) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	prefix := h.ChecksumPrefix()
	whole := append((*pooled)[:0], prefix...)
	if missing := len(prefix) + size - cap(whole); missing > 0 {
		whole = append(whole, make([]byte, size)...)
		*pooled = whole
	}
	whole = whole[:len(prefix)+size]
	body := whole[len(prefix):]

	if n, err := io.ReadFull(content, body); err != nil {
		return objects.Checksum{}, readContentError(int64(n), int64(size), err)
	}
	if err := checkEnd(content, int64(size)); err != nil {
		return objects.Checksum{}, err
	}
	c := objects.ChecksumOf(whole)
	if err := checkMatch(c, want); err != nil {
		return objects.Checksum{}, err
	}
	return c, s.place(objects.KindFile, c, func(at tempName) error {
		if err := s.checkSpace(int64(size)); err != nil {
			return err
		}
		f, err := at.create()
		if err != nil {
			return err
		}
		err = s.layout.regular(f, h, int64(size), func(w io.Writer) error {
			_, err := w.Write(body)
			return err
		})
		return errors.Join(err, f.close())
	})
}

// writeLarge hashes the content while it goes to a temporary file, since its checksum is known only
// then.
func (s *Staging) writeLarge(h objects.FileHeader, size int64, content io.Reader, want *objects.Checksum) (objects.Checksum, error) {
	if err := s.checkSpace(size); err != nil {
		return objects.Checksum{}, err
	}
	at := s.tempName("")
	f, err := at.create()
	if err != nil {
		return objects.Checksum{}, err
	}
	hash := sha256.New()
	hash.Write(h.ChecksumPrefix())
	err = s.layout.regular(f, h, size, func(w io.Writer) error {
		if err := copyContent(io.MultiWriter(hash, w), content, size); err != nil {
			return err
		}
		return checkEnd(content, size)
	})
	if err := errors.Join(err, f.close()); err != nil {
		at.remove()
		return objects.Checksum{}, err
	}
	c := objects.Checksum(hash.Sum(nil))
	if err := checkMatch(c, want); err != nil {
		at.remove()
		return objects.Checksum{}, err
	}
	if s.Has(objects.KindFile, c) {
		at.remove()
		return c, nil
	}
	if _, err := s.fanoutDir(c); err != nil {
		at.remove()
		return objects.Checksum{}, err
	}
	return c, s.publish(at, objects.KindFile, c)
}

// copyContent copies size bytes.
func copyContent(w io.Writer, content io.Reader, size int64) error {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := (*pooled)[:copyBuffer]
	for done := int64(0); done < size; {
		n, err := io.ReadFull(content, buf[:min(copyBuffer, size-done)])
		done += int64(n)
		if err != nil {
			return readContentError(done, size, err)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

func readContentError(n, size int64, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the content ends after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read the content after %d of %d bytes: %w", n, size, err)
}

// checkEnd reads to the end of content, which must be there.
func checkEnd(content io.Reader, size int64) error {
	var extra [1]byte
	switch _, err := io.ReadFull(content, extra[:]); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("the content is longer than its %d bytes", size)
	default:
		return readContentError(size, size, err)
	}
}

// WriteSymlink writes a symlink. Its mode becomes 0777 in every repository mode, the only one that
// a real symlink has, so that the checksum is the same everywhere; otherwise the header gets its
// canonical form, or gives ErrInvalid. Other errors: ErrNotKept, ErrNoSpace, ErrReadOnly.
func (s *Staging) WriteSymlink(h objects.FileHeader) (objects.Checksum, error) {
	h, err := newSymlink(h)
	if err != nil {
		return objects.Checksum{}, err
	}
	c := objects.ChecksumOf(h.ChecksumPrefix())
	if err := s.placeSymlink(c, h); err != nil {
		return objects.Checksum{}, fmt.Errorf("write symlink: %w", withCause(err))
	}
	return c, nil
}

// newSymlink gives a symlink the form that new ones have.
func newSymlink(h objects.FileHeader) (objects.FileHeader, error) {
	h.Mode = unix.S_IFLNK | 0o777
	h, err := canonicalFile(h)
	if err != nil {
		return h, fmt.Errorf("write symlink: %w", err)
	}
	return h, nil
}

func (s *Staging) placeSymlink(c objects.Checksum, h objects.FileHeader) error {
	return s.place(objects.KindFile, c, func(at tempName) error { return s.layout.symlink(at, h) })
}

// WriteDirMeta writes a dirmeta object in its canonical form. Errors: ErrInvalid, ErrNoSpace,
// ErrReadOnly.
func (s *Staging) WriteDirMeta(m objects.DirMeta) (objects.Checksum, error) {
	m, err := newDirMeta(m)
	if err != nil {
		return objects.Checksum{}, err
	}
	return s.writeMetadata(objects.KindDirMeta, m.Marshal())
}

// newDirMeta gives a dirmeta the form that new ones have.
func newDirMeta(m objects.DirMeta) (objects.DirMeta, error) {
	m, err := m.Canonical()
	if err == nil {
		err = m.Xattrs.Valid()
	}
	if err != nil {
		return m, fmt.Errorf("write dirmeta: %w: %w", ErrInvalid, err)
	}
	return m, nil
}

// WriteDirTree writes a dirtree object, whose lists must be sorted already. Errors: ErrNoSpace,
// ErrReadOnly.
func (s *Staging) WriteDirTree(t objects.DirTree) (objects.Checksum, error) {
	return s.writeMetadata(objects.KindDirTree, t.Marshal())
}

// WriteCommit writes a commit object. Errors: ErrNoSpace, ErrReadOnly.
func (s *Staging) WriteCommit(c objects.Commit) (objects.Checksum, error) {
	return s.writeMetadata(objects.KindCommit, c.Marshal())
}

// writeMetadata writes an object that is stored alike in all modes.
func (s *Staging) writeMetadata(kind objects.Kind, b []byte) (objects.Checksum, error) {
	if err := checkMetadataSize(b); err != nil {
		return objects.Checksum{}, fmt.Errorf("write %s: %w", kind, err)
	}
	c := objects.ChecksumOf(b)
	err := s.place(kind, c, func(at tempName) error { return at.createPlain(b) })
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("write %s: %w", kind, withCause(err))
	}
	return c, nil
}

func checkMetadataSize(b []byte) error {
	if len(b) > maxMetadata {
		return fmt.Errorf("it has %d bytes, more than %d", len(b), maxMetadata)
	}
	return nil
}

// place gives the object c the file that write writes, unless it is there already.
func (s *Staging) place(kind objects.Kind, c objects.Checksum, write func(tempName) error) error {
	if s.Has(kind, c) {
		return nil
	}
	return s.replace(kind, c, write)
}

// replace gives the object c the file that write writes, whether or not there is one.
func (s *Staging) replace(kind objects.Kind, c objects.Checksum, write func(tempName) error) error {
	dir, err := s.fanoutDir(c)
	if err != nil {
		return err
	}
	// In the directory where it will stay: a rename between directories takes a lock of the whole
	// file system.
	at := s.tempName(dir + "/")
	if err := write(at); err != nil {
		at.remove()
		return err
	}
	return s.publish(at, kind, c)
}

// Has reports whether the staging or the repository has the object. It does not look into it.
func (s *Staging) Has(kind objects.Kind, c objects.Checksum) bool {
	path := loosePath(kind, c, s.repo.config.mode)
	var stat unix.Stat_t
	return unix.Fstatat(s.landed, path, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil ||
		unix.Fstatat(s.objects, path, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// tempName returns a new name that is no object's, relative to the directory objects.
func (s *Staging) tempName(prefix string) tempName {
	return tempName{dir: s.objects, name: prefix + "tmp-" + strconv.FormatUint(s.serial.Add(1), 36)}
}

// fanoutDir makes the directory of an object unless it is there, and returns its name.
func (s *Staging) fanoutDir(c objects.Checksum) (string, error) {
	name, made := hex.EncodeToString(c[:1]), &s.fanout[c[0]]
	if made.Load() {
		return name, nil
	}
	if err := unix.Mkdirat(s.objects, name, 0o755); err != nil && err != unix.EEXIST {
		return "", tempName{s.objects, name}.error("mkdir", err)
	}
	made.Store(true)
	return name, nil
}

// publish gives a complete temporary file the name of its object, in a directory that exists.
// Somebody else may have done so meanwhile: both are alike.
func (s *Staging) publish(at tempName, kind objects.Kind, c objects.Checksum) error {
	if err := unix.Renameat(at.dir, at.name, s.objects, loosePath(kind, c, s.repo.config.mode)); err != nil {
		at.remove()
		return at.error("rename", err)
	}
	return nil
}
