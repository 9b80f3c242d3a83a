package ostreerepo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Objects reads objects of a repository and adds new ones to them. A Staging keeps the new ones
// until they land; a Trial only tells which they would be.
type Objects interface {
	Commit(c objects.Checksum) (objects.Commit, error)
	DirTree(c objects.Checksum) (objects.DirTree, error)
	DirMeta(c objects.Checksum) (objects.DirMeta, error)
	OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error)

	WriteCommit(c objects.Commit) (objects.Checksum, error)
	WriteDirTree(t objects.DirTree) (objects.Checksum, error)
	WriteDirMeta(m objects.DirMeta) (objects.Checksum, error)
	WriteSymlink(h objects.FileHeader) (objects.Checksum, error)
	// WriteCopy writes a regular file with the content of the object from and with another header.
	WriteCopy(from objects.Checksum, h objects.FileHeader) (objects.Checksum, error)
}

// WriteCopy writes a regular file with the content of a file of the staging or of the repository,
// and with another header. Errors: as for OpenFile and WriteFile.
func (s *Staging) WriteCopy(from objects.Checksum, h objects.FileHeader) (objects.Checksum, error) {
	size, err := fileSize(s.repo.config.mode, s.objectPath(objects.KindFile, from))
	if isNoFile(err) {
		size, err = s.repo.FileSize(from)
	}
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("copy file %s: %w", from, err)
	}
	_, content, err := s.OpenFile(from)
	if err != nil {
		return objects.Checksum{}, fmt.Errorf("copy file %s: %w", from, err)
	}
	defer content.Close() // it was only read
	return s.WriteFile(h, int64(size), content)
}

// Trial keeps new objects in memory, to find out their checksums and to read them again, and writes
// nothing to a disk. Of a file it keeps the header alone. Its methods may be called at the same
// time by several goroutines. It needs no closing.
type Trial struct {
	repo *Repo

	mu       sync.Mutex
	metadata map[trialKey][]byte
	files    map[objects.Checksum]trialFile
}

type trialKey struct {
	kind objects.Kind
	sum  objects.Checksum
}

// trialFile is a file that differs from one of the repository in its header. from is zero for a
// symlink.
type trialFile struct {
	header objects.FileHeader
	from   objects.Checksum
}

// NewTrial returns a Trial without objects of its own.
func (r *Repo) NewTrial() *Trial {
	return &Trial{
		repo: r, metadata: make(map[trialKey][]byte), files: make(map[objects.Checksum]trialFile),
	}
}

// Commit reads a commit object of the trial or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (t *Trial) Commit(c objects.Checksum) (objects.Commit, error) {
	return tried(t, objects.KindCommit, c, objects.ParseCommit, t.repo.Commit)
}

// DirTree reads a dirtree object of the trial or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (t *Trial) DirTree(c objects.Checksum) (objects.DirTree, error) {
	return tried(t, objects.KindDirTree, c, objects.ParseDirTree, t.repo.DirTree)
}

// DirMeta reads a dirmeta object of the trial or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (t *Trial) DirMeta(c objects.Checksum) (objects.DirMeta, error) {
	return tried(t, objects.KindDirMeta, c, objects.ParseDirMeta, t.repo.DirMeta)
}

// tried parses an object of the trial, or has one of the repository read.
func tried[T any](
	t *Trial, kind objects.Kind, c objects.Checksum,
	parse func([]byte) (T, error), landed func(objects.Checksum) (T, error),
) (T, error) {
	t.mu.Lock()
	b, ok := t.metadata[trialKey{kind, c}]
	t.mu.Unlock()
	if !ok {
		return landed(c)
	}
	return parse(b)
}

// OpenFile opens a file or symlink of the trial or of the repository, as Repo.OpenFile does.
// Errors: ErrNoObject, ErrCorrupted.
func (t *Trial) OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error) {
	t.mu.Lock()
	f, ok := t.files[c]
	t.mu.Unlock()
	if !ok {
		return t.repo.OpenFile(c)
	}
	if f.from.IsZero() {
		return f.header, io.NopCloser(bytes.NewReader(nil)), nil
	}
	_, content, err := t.repo.OpenFile(f.from)
	return f.header, content, err
}

// WriteCommit gives the checksum of a commit object.
func (t *Trial) WriteCommit(c objects.Commit) (objects.Checksum, error) {
	return t.write(objects.KindCommit, c.Marshal())
}

// WriteDirTree gives the checksum of a dirtree object, whose lists must be sorted already.
func (t *Trial) WriteDirTree(tree objects.DirTree) (objects.Checksum, error) {
	return t.write(objects.KindDirTree, tree.Marshal())
}

// WriteDirMeta gives the checksum of a dirmeta object in its canonical form.
func (t *Trial) WriteDirMeta(m objects.DirMeta) (objects.Checksum, error) {
	m, err := newDirMeta(m)
	if err != nil {
		return objects.Checksum{}, err
	}
	return t.write(objects.KindDirMeta, m.Marshal())
}

func (t *Trial) write(kind objects.Kind, b []byte) (objects.Checksum, error) {
	if err := checkMetadataSize(b); err != nil {
		return objects.Checksum{}, fmt.Errorf("write %s: %w", kind, err)
	}
	c := objects.ChecksumOf(b)
	if t.repo.Has(kind, c) {
		return c, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.metadata[trialKey{kind, c}] = b
	return c, nil
}

// WriteSymlink gives the checksum of a symlink, as Staging.WriteSymlink does.
func (t *Trial) WriteSymlink(h objects.FileHeader) (objects.Checksum, error) {
	h, err := newSymlink(h)
	if err != nil {
		return objects.Checksum{}, err
	}
	c := objects.ChecksumOf(h.ChecksumPrefix())
	t.add(c, trialFile{header: h})
	return c, nil
}

// WriteCopy gives the checksum of a regular file that has the content of another one. Errors: as
// for OpenFile.
func (t *Trial) WriteCopy(
	from objects.Checksum, h objects.FileHeader,
) (c objects.Checksum, err error) {
	if h, err = canonicalFile(h); err != nil {
		return c, fmt.Errorf("copy file %s: %w", from, err)
	}
	t.mu.Lock()
	if f, ok := t.files[from]; ok {
		from = f.from
	}
	t.mu.Unlock()
	_, content, err := t.repo.OpenFile(from)
	if err != nil {
		return c, fmt.Errorf("copy file %s: %w", from, err)
	}
	hash := sha256.New()
	hash.Write(h.ChecksumPrefix())
	_, err = io.Copy(hash, content)
	if err = errors.Join(err, content.Close()); err != nil {
		return c, fmt.Errorf("copy file %s: %w", from, err)
	}
	c = objects.Checksum(hash.Sum(nil))
	t.add(c, trialFile{header: h, from: from})
	return c, nil
}

func (t *Trial) add(c objects.Checksum, f trialFile) {
	if t.repo.Has(objects.KindFile, c) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files[c] = f
}
