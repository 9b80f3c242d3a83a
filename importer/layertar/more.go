package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// MoreName is the name of the file, in the root of a layer commit, with an archive of the entries
// that the commit's tree can't hold. It has no contents: those are files of their own beside it,
// whose names begin with MoreName, too. Other programs take each for a whiteout of something that
// doesn't exist.
const MoreName = ".wh..wh.ostree-importd"

// moreObject is the record of an entry with the name of the file that has its content.
const moreObject = "OSTREE-IMPORTD.object"

// moreEntry is an entry that the tree can't hold, or not where the image has it.
type moreEntry struct {
	typeflag byte
	path     []string
	dir      *node        // of a directory
	content  *content     // of a file or symbolic link; nil for a marker
	link     *pendingLink // of a hard link, which counts if it is kept
	dropped  bool         // of a special file, which counts unless something else is there
}

// addMore adds an entry to the archive of more entries.
func (t *tree) addMore(e moreEntry) {
	t.more = append(t.more, e)
	t.kept += nodeSize + componentSize*len(e.path)
}

// addCovered adds an entry of the tree that something else covers in the commit.
func (t *tree) addCovered(e moreEntry) { t.covered = append(t.covered, e) }

// counts reports whether the entry belongs into the archive.
func (t *tree) counts(e moreEntry) bool {
	return (e.link == nil || e.link.kept) && (!e.dropped || t.at(e.path) == nil)
}

// writeMore writes the archive of more entries and the contents of files, for the layer's root.
// There is none if no entry counts.
func (w *treeWriter) writeMore(ctx context.Context, t *tree) (map[string]*node, error) {
	files := make(map[string]*node)
	var data bytes.Buffer
	archive := tar.NewWriter(&data)
	for _, e := range slices.Concat(t.covered, t.more) { // a way may lead through what is covered
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !t.counts(e) {
			continue
		}
		header, err := w.moreHeader(e, files)
		if err == nil {
			err = archive.WriteHeader(header)
		}
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", blob.Quote(strings.Join(e.path, "/")), err)
		}
	}
	if data.Len() == 0 {
		return nil, nil
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	sum, err := w.st.WriteFile(objects.FileHeader{Mode: syscall.S_IFREG | 0o644}, int64(data.Len()), &data)
	files[MoreName] = &node{content: &content{checksum: sum}}
	return files, err
}

// moreHeader gives the header of an entry, and adds its content to the files.
func (w *treeWriter) moreHeader(e moreEntry, files map[string]*node) (*tar.Header, error) {
	h := &tar.Header{Format: tar.FormatPAX, Typeflag: e.typeflag, Name: strings.Join(e.path, "/"), Mode: 0o644}
	switch {
	case e.dir != nil:
		h.Uid, h.Gid, h.Mode = int(e.dir.owner.uid), int(e.dir.owner.gid), int64(e.dir.mode)
		setXattrs(h, e.dir.xattrs)
	case e.link != nil:
		h.Linkname = strings.Join(e.link.target, "/")
	case e.content != nil && e.content.target != "":
		file, data, err := w.st.OpenFile(e.content.checksum)
		if err != nil {
			return nil, err
		}
		h.Uid, h.Gid, h.Mode, h.Linkname = int(file.UID), int(file.GID), 0o777, file.Target
		setXattrs(h, file.Xattrs)
		return h, data.Close()
	case e.content != nil:
		sum, err := w.relabel(e.content, nil)
		if err != nil {
			return nil, err
		}
		name := MoreName + "." + sum.String()
		files[name] = &node{content: &content{checksum: sum, size: e.content.size}}
		h.PAXRecords = map[string]string{moreObject: name}
	}
	return h, nil
}

// setXattrs adds extended attributes to a header, except the label: the merge knows where the file
// will be.
func setXattrs(h *tar.Header, attributes objects.Xattrs) {
	for _, attr := range attributes {
		if attr.Name == selinuxXattr {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		key, value := schilyXattr+attr.Name, string(attr.Value)
		if strings.Contains(attr.Name, "=") || value == "" { // which SCHILY.xattr can't say
			key, value = libarchiveXattr+url.PathEscape(attr.Name), base64.RawStdEncoding.EncodeToString(attr.Value)
			key = strings.ReplaceAll(key, "=", "%3D")
		}
		h.PAXRecords[key] = value
	}
}

// Entry is an entry of the archive of more entries.
type Entry struct {
	Type   byte               // of package tar: TypeReg also for markers, TypeFifo for what was left out
	Path   string             // in the image, as the layer's archive has it, without slashes at its ends
	Object string             // of a file: the name in the commit's root of the file that it is, but for its label
	Target string             // of a hard link: a path in the image
	Link   objects.FileHeader // of a symbolic link, without a label
	Dir    objects.DirMeta    // of a directory, without a label
}

// ReadMore reads an archive of more entries. visit gets one after the other, and ends the reading
// with an error, which is returned as it is.
func ReadMore(ctx context.Context, r io.Reader, visit func(Entry) error) error {
	archive := tar.NewReader(r)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the archive of more entries: %w", err)
		}
		attributes, err := xattrs(h.PAXRecords, fileType(h.Typeflag))
		if err != nil {
			return err
		}
		e := Entry{Type: h.Typeflag, Path: strings.TrimSuffix(h.Name, "/"), Object: h.PAXRecords[moreObject]}
		uid, gid := uint32(h.Uid), uint32(h.Gid)
		switch h.Typeflag {
		case tar.TypeDir:
			e.Dir = objects.DirMeta{UID: uid, GID: gid, Mode: syscall.S_IFDIR | uint32(h.Mode&permissions), Xattrs: attributes}
		case tar.TypeLink:
			e.Target = h.Linkname
		case tar.TypeSymlink:
			e.Link = objects.FileHeader{UID: uid, GID: gid, Mode: syscall.S_IFLNK | 0o777, Target: h.Linkname, Xattrs: attributes}
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}
