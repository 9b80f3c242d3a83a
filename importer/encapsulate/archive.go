package encapsulate

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// xattrPrefix begins the names of PAX records that hold extended attributes.
	xattrPrefix = "SCHILY.xattr."
	// labelAttr is the extended attribute that unpackers of images don't take.
	labelAttr = "security.selinux"

	// maxRecords bounds the extended attributes of an entry, in bytes: readers refuse more than 1
	// MiB.
	maxRecords = 512 << 10

	permissions = 0o7777
)

// archiver writes one layer's archive.
type archiver struct {
	ctx     context.Context
	repo    *ostreerepo.Repo
	to      io.Writer
	out     *tar.Writer         // writes to it
	written map[objectName]bool // metadata objects
	buffer  []byte              // for contents
	done    func(c *content)    // is called after each content
}

type objectName struct {
	kind objects.Kind
	c    objects.Checksum
}

func newArchiver(ctx context.Context, repo *ostreerepo.Repo, w io.Writer, done func(*content)) *archiver {
	return &archiver{
		ctx: ctx, repo: repo, to: w, out: tar.NewWriter(w), written: make(map[objectName]bool), buffer: make([]byte, 128<<10), done: done,
	}
}

// commitLayer writes the commit, all its directories, and contents.
func (a *archiver) commitLayer(s *source, contents []*content) error {
	root, err := a.repo.DirMeta(s.tree.root.Meta)
	if err != nil {
		return fmt.Errorf("/: %w", err)
	}
	if err := a.dirEntry("./", root.UID, root.GID, root.Mode); err != nil {
		return err
	}
	if err := a.plumbing(); err != nil {
		return err
	}
	if err := a.object(objects.KindCommit, s.checksum, s.raw); err != nil {
		return err
	}
	if s.detached != nil {
		if err := a.object(objects.KindCommitMeta, s.checksum, s.detached.Marshal()); err != nil {
			return err
		}
	}
	if err := a.directories(s.tree, root); err != nil {
		return err
	}
	if !s.tree.isDir["var/tmp"] {
		if err := a.dirEntry("var/tmp", 0, 0, 0o1777); err != nil {
			return err
		}
	}
	if err := a.contents(contents); err != nil {
		return err
	}
	return a.out.Close()
}

// chunk writes a layer that has nothing but contents.
func (a *archiver) chunk(contents []*content) error {
	if err := a.plumbing(); err != nil {
		return err
	}
	if err := a.contents(contents); err != nil {
		return err
	}
	return a.out.Close()
}

// plumbing writes what makes a repository of sysroot/ostree/repo.
func (a *archiver) plumbing() error {
	if err := a.out.Flush(); err != nil {
		return err
	}
	_, err := a.to.Write(plumbing())
	return err
}

// directories writes the objects of all directories, each once, and the directories themselves.
func (a *archiver) directories(t *tree, root objects.DirMeta) error {
	if err := a.object(objects.KindDirMeta, t.root.Meta, root.Marshal()); err != nil {
		return err
	}
	if err := a.object(objects.KindDirTree, t.root.Tree, t.trees[t.root.Tree].Marshal()); err != nil {
		return err
	}
	for _, d := range t.dirs {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		meta, err := a.repo.DirMeta(d.Meta)
		if err != nil {
			return fmt.Errorf("/%s: %w", d.path, err)
		}
		if err := a.object(objects.KindDirMeta, d.Meta, meta.Marshal()); err != nil {
			return err
		}
		if visible(d.path) {
			if err := a.dirEntry("./"+placeOf(d.path), meta.UID, meta.GID, meta.Mode); err != nil {
				return err
			}
		}
		if err := a.object(objects.KindDirTree, d.Tree, t.trees[d.Tree].Marshal()); err != nil {
			return err
		}
	}
	return nil
}

// contents writes content objects, and links to them where the commit has them.
func (a *archiver) contents(contents []*content) error {
	for _, c := range contents {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		if err := a.content(c); err != nil {
			return fmt.Errorf("/%s: %w", c.paths[0], err)
		}
		a.done(c)
	}
	return nil
}

func (a *archiver) content(c *content) (err error) {
	file, r, err := a.repo.OpenFile(c.checksum)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := a.plainEntry(entryName(objects.KindFile, c.checksum)+"-xattrs-link", file.Xattrs.Marshal()); err != nil {
		return err
	}
	h := fileEntry(file, c)
	if err := a.header(h); err != nil {
		return err
	}
	// To the end, where the object's checksum is verified.
	n, err := io.CopyBuffer(struct{ io.Writer }{a.out}, struct{ io.Reader }{r}, a.buffer)
	if err == nil && n != h.Size {
		err = errWrongSize
	}
	if errors.Is(err, tar.ErrWriteTooLong) || errors.Is(err, errWrongSize) {
		err = fmt.Errorf("%w: file %s does not have the %d bytes that it should have; `ostree fsck` lists what is wrong",
			ostreerepo.ErrCorrupted, c.checksum, h.Size)
	}
	if err != nil {
		return err
	}
	return a.links(h, c)
}

var errWrongSize = errors.New("wrong size")

// fileEntry is the header of a content object.
func fileEntry(file objects.FileHeader, c *content) *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: entryName(objects.KindFile, c.checksum), Size: c.size,
		Uid: int(file.UID), Gid: int(file.GID), Mode: int64(file.Mode & permissions),
	}
	if file.IsSymlink() {
		h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, file.Target, 0
	}
	// For those who unpack the image; importers take the entry before this one. What an archive
	// can't hold is left out.
	room := maxRecords
	for _, x := range file.Xattrs {
		room -= len(x.Name) + len(x.Value)
		if x.Name == labelAttr || strings.Contains(x.Name, "=") || !utf8.ValidString(x.Name) || room < 0 {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrPrefix+x.Name] = string(x.Value)
	}
	return h
}

// links puts a content object at its paths, as hard links. An empty file is written anew instead:
// whoever fills one in a container would otherwise fill all.
func (a *archiver) links(object *tar.Header, c *content) error {
	for _, at := range c.paths {
		if !visible(at) {
			continue
		}
		h := *object
		h.Name = placeOf(at)
		if object.Typeflag != tar.TypeReg || object.Size > 0 {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, object.Name, 0, nil
		}
		if err := a.header(&h); err != nil {
			return err
		}
	}
	return nil
}

// visible reports whether a path of the commit is one in the image's file system.
func visible(at string) bool {
	return at != sysroot && !strings.HasPrefix(at, sysroot+"/")
}

// placeOf gives the path in the image's file system of a path of the commit.
func placeOf(at string) string {
	if at == "usr/etc" || strings.HasPrefix(at, "usr/etc/") {
		return strings.TrimPrefix(at, "usr/")
	}
	return at
}

// entryName is the path of an object in the image.
func entryName(kind objects.Kind, c objects.Checksum) string {
	name := c.String()
	return path.Join(repoPath, "objects", name[:2], name[2:]) + "." + string(kind)
}

// object writes a metadata object unless it was written before.
func (a *archiver) object(kind objects.Kind, c objects.Checksum, content []byte) error {
	name := objectName{kind, c}
	if a.written[name] {
		return nil
	}
	a.written[name] = true
	return a.plainEntry(entryName(kind, c), content)
}

func (a *archiver) plainEntry(name string, content []byte) error {
	if err := a.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: plainFile, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := a.out.Write(content)
	return err
}

func (a *archiver) dirEntry(name string, uid, gid, mode uint32) error {
	return a.header(&tar.Header{Typeflag: tar.TypeDir, Name: name, Uid: int(uid), Gid: int(gid), Mode: int64(mode & permissions)})
}

// header writes a header in the GNU format, or in that of PAX where it must hold extended
// attributes.
func (a *archiver) header(h *tar.Header) error {
	h.Format = tar.FormatGNU
	if len(h.PAXRecords) > 0 {
		h.Format = tar.FormatPAX
	}
	return a.out.WriteHeader(h)
}
