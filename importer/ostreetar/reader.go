package ostreetar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	maxEntries  = 4 << 20
	maxMetadata = 128 << 20 // bytes of a metadata object: libostree's own limit
	permissions = 0o7777

	// objectSize is the memory, in bytes, of an object in the table of a chunk and when the chunk
	// commit is written.
	objectSize = 256
	// metadataCopies is how often a metadata object that is not small is in memory while it is read
	// and written.
	metadataCopies = 3
)

// reader reads the entries of a commit layer or of a chunk.
type reader struct {
	st     *ostreerepo.Staging
	verify func(ctx context.Context, commit, detached []byte) error
	files  *blob.Writers
	stats  Stats
	memory *budget.Share
	large  int64 // size of the largest metadata object for which memory was taken

	commit *commit                       // of a commit layer, when it was read
	chunk  map[objects.Checksum]struct{} // the content objects of a chunk; nil for a commit layer

	xattrs  xattrSets
	pending *pendingXattrs
	buffer  []byte // for serialised attributes
}

// commit is a commit object that waits for its layer to be verified.
type commit struct {
	entry    string
	checksum objects.Checksum
	bytes    []byte
	detached objects.Dict // nil for none
	verified bool         // its detached metadata are known, and Options.Verify has been called
}

// pendingXattrs are extended attributes whose file must come next.
type pendingXattrs struct {
	entry     string
	file, set objects.Checksum
}

// read reads the whole blob.
func (r *reader) read(ctx context.Context, src io.Reader, layer blob.Layer, opts Options) error {
	if r.memory = opts.Memory; r.memory == nil {
		r.memory = budget.Alone()
	}
	var err error
	reading := blob.Options{Writers: opts.Writers, Memory: r.memory}
	r.stats.Uncompressed, err = blob.Read(ctx, src, layer, reading, func(ctx context.Context, archive io.Reader, files *blob.Writers) error {
		r.files = files
		return r.readAll(ctx, archive)
	})
	return err
}

// readAll reads up to the archive's end. Errors of archive are returned as they are.
func (r *reader) readAll(ctx context.Context, archive io.Reader) error {
	source := tar.NewReader(archive)
	last := ""
	for {
		h, err := source.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return blob.HeaderError(last, err)
		}
		last = h.Name
		if r.stats.Entries++; r.stats.Entries > maxEntries {
			return blob.NewEntryError(h.Name, fmt.Errorf("the layer has more than %d entries", maxEntries))
		}
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := r.entry(ctx, h, source); err != nil {
			return err
		}
	}
	if p := r.pending; p != nil {
		return blob.NewEntryError(p.entry, fmt.Errorf("the layer ends before the file that these extended attributes belong to, %s", p.file))
	}
	if r.commit == nil {
		return nil
	}
	return r.settle(ctx, nil)
}

// entry reads one entry. Its errors name it, except for those of reading and writing.
func (r *reader) entry(ctx context.Context, h *tar.Header, source io.Reader) error {
	k, c, err := parseName(h.Name)
	if err == nil {
		err = r.checkOrder(k)
	}
	if err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	switch k {
	case kindNone:
		return nil
	case kindCommit:
		return r.addCommit(h, c, source)
	case kindCommitMeta:
		return r.addDetached(ctx, h, c, source)
	}
	if r.commit != nil {
		if err := r.settle(ctx, nil); err != nil {
			return err
		}
	}
	switch k {
	case kindDirTree:
		return r.addMetadata(h, objects.KindDirTree, c, source)
	case kindDirMeta:
		return r.addMetadata(h, objects.KindDirMeta, c, source)
	case kindXattrs:
		return r.addXattrs(h, c, source)
	case kindXattrsLink, kindXattrsRef:
		return r.addPending(h, k, c, source)
	}
	return r.addFile(h, c, source)
}

// checkOrder refuses what can't be in this kind of layer, or not at this place.
func (r *reader) checkOrder(k kind) error {
	switch isMetadata := k == kindCommit || k == kindCommitMeta || k == kindDirTree || k == kindDirMeta; {
	case k == kindNone:
	case r.chunk != nil:
		if isMetadata {
			return errors.New("a metadata object in a layer that holds contents only: a commit belongs into the image's first layer")
		}
	case k == kindCommit:
		if r.commit != nil {
			return fmt.Errorf("a second commit; the first is %s, and an image has one", r.commit.checksum)
		}
	case r.commit == nil:
		return errors.New("the first object must be the commit: this is not the first layer of an encapsulated commit")
	case k == kindCommitMeta && r.commit.verified:
		return errors.New("detached metadata must come right after the commit, and once")
	}
	return nil
}

func (r *reader) addCommit(h *tar.Header, c objects.Checksum, source io.Reader) error {
	b, err := r.readMetadata(h, source)
	if err != nil {
		return err
	}
	if sum := objects.ChecksumOf(b); sum != c {
		return blob.NewEntryError(h.Name, fmt.Errorf("%w: %s", ostreerepo.ErrMismatch, sum))
	}
	if _, err := objects.ParseCommit(b); err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	r.commit = &commit{entry: h.Name, checksum: c, bytes: b}
	return nil
}

func (r *reader) addDetached(ctx context.Context, h *tar.Header, c objects.Checksum, source io.Reader) error {
	if c != r.commit.checksum {
		return blob.NewEntryError(h.Name, fmt.Errorf("detached metadata of another commit than %s", r.commit.checksum))
	}
	b, err := r.readMetadata(h, source)
	if err != nil {
		return err
	}
	if r.commit.detached, err = objects.ParseDict(b); err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	return r.settle(ctx, b)
}

// settle has the commit verified, unless it is already, with these detached metadata.
func (r *reader) settle(ctx context.Context, detached []byte) error {
	if r.commit.verified {
		return nil
	}
	r.commit.verified = true
	if r.verify == nil {
		return nil
	}
	return r.verify(ctx, r.commit.bytes, detached)
}

// readMetadata reads a metadata object, whose memory grows as it comes and not as its header
// promises.
func (r *reader) readMetadata(h *tar.Header, source io.Reader) ([]byte, error) {
	if err := r.checkMetadata(h); err != nil {
		return nil, err
	}
	b, err := readSized(h.Size, source)
	return b, blob.ArchiveError(err)
}

// checkMetadata checks what the entry of a metadata object says, and takes the memory that it
// needs. Of the large ones one at a time is read.
func (r *reader) checkMetadata(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg {
		return blob.NewEntryError(h.Name, fmt.Errorf("a metadata object must be a regular file, not one of type %q", h.Typeflag))
	}
	if h.Size > maxMetadata {
		return blob.NewEntryError(h.Name, fmt.Errorf("the metadata object has %d bytes, more than %d", h.Size, maxMetadata))
	}
	if h.Size <= max(blob.SmallFile, r.large) {
		return nil
	}
	more := h.Size - r.large
	r.large = h.Size
	return r.take(h, metadataCopies*more)
}

// take takes memory for an entry.
func (r *reader) take(h *tar.Header, n int64) error {
	if err := r.memory.Take(n); err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	return nil
}

func readSized(size int64, source io.Reader) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(size, blob.SmallFile)+bytes.MinRead))
	_, err := b.ReadFrom(source)
	return b.Bytes(), err
}

// addMetadata writes a dirtree or dirmeta object.
func (r *reader) addMetadata(h *tar.Header, k objects.Kind, c objects.Checksum, source io.Reader) error {
	if err := r.checkMetadata(h); err != nil {
		return err
	}
	if r.present(k, c) {
		return nil
	}
	name, size := h.Name, h.Size
	return blob.ArchiveError(r.files.Write(size, source, func(content io.Reader) error {
		b, err := readSized(size, content)
		if err == nil {
			err = r.st.WriteMetadata(k, c, b)
		}
		return writeError(name, err)
	}))
}

// present counts an object, and reports whether it is there.
func (r *reader) present(k objects.Kind, c objects.Checksum) bool {
	r.stats.Objects++
	if !r.st.Has(k, c) {
		return false
	}
	r.stats.Present++
	return true
}

// addXattrs remembers extended attributes under their own checksum.
func (r *reader) addXattrs(h *tar.Header, want objects.Checksum, source io.Reader) error {
	got, err := r.readXattrs(h, source)
	if err != nil {
		return err
	}
	if got != want {
		return blob.NewEntryError(h.Name, fmt.Errorf("extended attributes with another checksum: %s", got))
	}
	return nil
}

// addPending remembers which extended attributes the next file has.
func (r *reader) addPending(h *tar.Header, k kind, file objects.Checksum, source io.Reader) error {
	if p := r.pending; p != nil {
		return blob.NewEntryError(h.Name, fmt.Errorf("the file %s, whose extended attributes came before, is missing", p.file))
	}
	pending := &pendingXattrs{entry: h.Name, file: file}
	var err error
	switch {
	case h.Typeflag == tar.TypeLink:
		if pending.set, err = parseXattrsTarget(k, h.Linkname); err != nil {
			return blob.NewEntryError(h.Name, fmt.Errorf("a hard link to %s, which is not what holds extended attributes: %w", blob.Quote(h.Linkname), err))
		}
	case k == kindXattrsLink:
		if pending.set, err = r.readXattrs(h, source); err != nil {
			return err
		}
	default:
		return blob.NewEntryError(h.Name, fmt.Errorf("extended attributes of this kind must be a hard link, not an entry of type %q", h.Typeflag))
	}
	r.pending = pending
	return nil
}

func (r *reader) readXattrs(h *tar.Header, source io.Reader) (objects.Checksum, error) {
	if h.Typeflag != tar.TypeReg {
		return objects.Checksum{}, blob.NewEntryError(h.Name, fmt.Errorf("extended attributes must be a regular file, not one of type %q", h.Typeflag))
	}
	if h.Size > maxXattrs {
		return objects.Checksum{}, blob.NewEntryError(h.Name, fmt.Errorf("the extended attributes of a file have %d bytes, more than %d", h.Size, maxXattrs))
	}
	if int64(cap(r.buffer)) < h.Size {
		r.buffer = make([]byte, h.Size)
	}
	b := r.buffer[:h.Size]
	if _, err := io.ReadFull(source, b); err != nil {
		return objects.Checksum{}, blob.ArchiveError(err)
	}
	before := r.xattrs.kept
	c, err := r.xattrs.add(b)
	if err != nil {
		return objects.Checksum{}, blob.NewEntryError(h.Name, err)
	}
	return c, r.take(h, int64(r.xattrs.kept-before))
}

// addFile writes a content object.
func (r *reader) addFile(h *tar.Header, c objects.Checksum, source io.Reader) error {
	header, err := r.fileHeader(h, c)
	if err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	if r.chunk != nil {
		if _, twice := r.chunk[c]; twice {
			return blob.NewEntryError(h.Name, errors.New("the object is in the layer twice"))
		}
		r.chunk[c] = struct{}{}
		if err := r.take(h, objectSize); err != nil {
			return err
		}
	}
	pending := r.pending
	r.pending = nil
	if r.present(objects.KindFile, c) {
		return nil
	}
	if pending != nil {
		if header.Xattrs, err = r.xattrs.take(pending.set); err != nil {
			return blob.NewEntryError(pending.entry, err)
		}
	}
	name, size := h.Name, h.Size
	if header.IsSymlink() {
		size = 0 // whatever the header says
	}
	return blob.ArchiveError(r.files.Write(size, source, func(content io.Reader) error {
		return writeError(name, r.st.WriteFileAs(c, header, size, content))
	}))
}

// fileHeader gives what the entry of a content object says about it.
func (r *reader) fileHeader(h *tar.Header, c objects.Checksum) (objects.FileHeader, error) {
	if p := r.pending; p != nil && p.file != c {
		return objects.FileHeader{}, fmt.Errorf("the extended attributes before it are those of another file, %s", p.file)
	}
	if h.Uid < 0 || h.Gid < 0 || uint64(h.Uid) > math.MaxUint32 || uint64(h.Gid) > math.MaxUint32 {
		return objects.FileHeader{}, fmt.Errorf("the owner %d:%d is out of range", h.Uid, h.Gid)
	}
	header := objects.FileHeader{UID: uint32(h.Uid), GID: uint32(h.Gid)}
	switch h.Typeflag {
	case tar.TypeReg:
		header.Mode = syscall.S_IFREG | uint32(h.Mode)&permissions
	case tar.TypeSymlink:
		header.Mode, header.Target = syscall.S_IFLNK|0o777, h.Linkname // the only mode that symlinks of a commit have
	default:
		return objects.FileHeader{}, fmt.Errorf("a content object must be a regular file or a symbolic link, not an entry of type %q", h.Typeflag)
	}
	return header, nil
}

// writeError is about an object that could not be written: because of what it is, or for other
// reasons.
func writeError(entry string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ostreerepo.ErrMismatch) || errors.Is(err, ostreerepo.ErrInvalid):
		return blob.NewEntryError(entry, err)
	}
	return fmt.Errorf("writing %s: %w", blob.Quote(entry), err)
}
