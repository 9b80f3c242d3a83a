package roottree

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// schilyXattr begins the names of PAX records that hold extended attributes. libarchiveXattr
	// begins those of the attributes that can't be written so: the rest of the name is URL-encoded,
	// the value is in base64.
	schilyXattr     = "SCHILY.xattr."
	libarchiveXattr = "LIBARCHIVE.xattr."
	permissions     = 0o7777
	copyBuffer      = 256 << 10
)

// KeepXattr says whether the extended attribute of an entry is to be written. It is asked for those
// only that can be.
type KeepXattr func(name string) bool

// Archive writes entries as a PAX archive. Its methods are called one after the other.
type Archive struct {
	source Source
	out    *tar.Writer
	keep   KeepXattr
	buffer []byte
	shared map[objects.Checksum]shared // what AddShared has written
}

// shared is a file that others can be hard links to.
type shared struct {
	path     string
	uid, gid uint32
	mode     uint32
}

// NewArchive begins an archive of objects from source. With a nil keep all extended attributes are
// written. One whose name has an equals sign is written as libarchive does it, which not every
// program reads. Where keep leaves an access control list out, the mode is that of KeptMode. The
// archive must be closed.
func NewArchive(source Source, w io.Writer, keep KeepXattr) *Archive {
	if keep == nil {
		keep = func(string) bool { return true }
	}
	return &Archive{source: source, out: tar.NewWriter(w), keep: keep, buffer: make([]byte, copyBuffer), shared: make(map[objects.Checksum]shared)}
}

// Add writes an entry with its content, which is verified then. The root is written as "./". Errors
// have the path.
func (a *Archive) Add(ctx context.Context, e Entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var err error
	if e.IsDir() {
		err = a.dir(e)
	} else {
		_, err = a.file(ctx, e)
	}
	if err != nil {
		return at(e.Path, err)
	}
	return nil
}

// AddShared is Add, except that a file with content which AddShared has written before becomes a
// hard link to that.
func (a *Archive) AddShared(ctx context.Context, e Entry) error {
	if e.IsDir() {
		return a.Add(ctx, e)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := a.sharedFile(ctx, e); err != nil {
		return at(e.Path, err)
	}
	return nil
}

func (a *Archive) sharedFile(ctx context.Context, e Entry) error {
	if first, written := a.shared[e.File]; written {
		h := a.entry(e.Path, first.uid, first.gid, first.mode, nil)
		h.Typeflag, h.Linkname = tar.TypeLink, first.path
		return a.header(h)
	}
	h, err := a.file(ctx, e)
	if err == nil && h.Size > 0 {
		a.shared[e.File] = shared{e.Path, uint32(h.Uid), uint32(h.Gid), uint32(h.Mode)}
	}
	return err
}

func (a *Archive) dir(e Entry) error {
	m, err := a.source.DirMeta(e.Dir.Meta)
	if err != nil {
		return err
	}
	return a.addDir(e.Path, m)
}

func (a *Archive) addDir(path string, m objects.DirMeta) error {
	name := path + "/"
	if path == "" {
		name = "./"
	}
	h := a.entry(name, m.UID, m.GID, m.Mode, m.Xattrs)
	h.Typeflag = tar.TypeDir
	return a.header(h)
}

// AddDir writes a directory that need not be in the source. Errors have the path.
func (a *Archive) AddDir(path string, m objects.DirMeta) error {
	return a.named(path, a.addDir(path, m))
}

// AddSymlink writes a symbolic link that need not be in the source. Errors have the path.
func (a *Archive) AddSymlink(path string, link objects.FileHeader) error {
	h := a.entry(path, link.UID, link.GID, link.Mode, link.Xattrs)
	h.Typeflag, h.Linkname = tar.TypeSymlink, link.Target
	return a.named(path, a.header(h))
}

// AddLink writes a hard link to a path that the archive need not have. Errors have the path.
func (a *Archive) AddLink(path, target string) error {
	h := a.entry(path, 0, 0, 0o644, nil)
	h.Typeflag, h.Linkname = tar.TypeLink, target
	return a.named(path, a.header(h))
}

// AddMarker writes an empty file of root's. Errors have the path.
func (a *Archive) AddMarker(path string) error {
	h := a.entry(path, 0, 0, 0o644, nil)
	h.Typeflag = tar.TypeReg
	return a.named(path, a.header(h))
}

func (a *Archive) named(path string, err error) error {
	if err != nil {
		return at(path, err)
	}
	return nil
}

// file gives the header that it has written.
func (a *Archive) file(ctx context.Context, e Entry) (h *tar.Header, err error) {
	c, err := open(a.source, e.File)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	h = a.entry(e.Path, c.UID, c.GID, c.Mode, c.Xattrs)
	if c.IsSymlink() {
		h.Typeflag, h.Linkname = tar.TypeSymlink, c.Target
		return h, a.header(h)
	}
	h.Typeflag, h.Size = tar.TypeReg, c.size
	if err := a.header(h); err != nil {
		return nil, err
	}
	err = c.copyTo(ctx, a.out, a.buffer)
	if errors.Is(err, tar.ErrWriteTooLong) {
		err = c.wrongSize(uint64(c.size))
	}
	return h, err
}

// Close ends the archive. It does not close what the archive is written to.
func (a *Archive) Close() error { return a.out.Close() }

func (a *Archive) entry(name string, uid, gid, mode uint32, xattrs objects.Xattrs) *tar.Header {
	h := &tar.Header{Name: name, Uid: int(uid), Gid: int(gid), Mode: int64(KeptMode(mode, xattrs, a.keep) & permissions)}
	for _, x := range xattrs {
		if !a.keep(x.Name) {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		if strings.Contains(x.Name, "=") {
			h.PAXRecords[libarchiveXattr+escapeName(x.Name)] = base64.RawStdEncoding.EncodeToString(x.Value)
		} else {
			h.PAXRecords[schilyXattr+x.Name] = string(x.Value)
		}
	}
	return h
}

// escapeName URL-encodes the name of an extended attribute as libarchive does.
func escapeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '%' || c == '=' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (a *Archive) header(h *tar.Header) error {
	h.Format = tar.FormatPAX
	err := a.out.WriteHeader(h)
	if errors.Is(err, tar.ErrFieldTooLong) {
		err = errors.New("its extended attributes have more than 1 MiB, which an archive can't hold")
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}
