package layertar

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// reader reads the entries of an archive into a tree, and their contents into the repository.
type reader struct {
	files    *writers
	opts     Options
	tree     *tree
	marker   *content // of every whiteout and opaque marker; nil before the first
	count    int
	taken    int64 // memory for the tree
	holes    holes
	filtered map[string]uint32
}

func newReader(files *writers, opts Options) *reader {
	if opts.Memory == nil {
		opts.Memory = budget.Alone()
	}
	return &reader{files: files, opts: opts, tree: newTree(), holes: holes{image: opts.Holes}}
}

// readAll reads up to the archive's end. Errors of archive are returned as they are.
func (r *reader) readAll(archive io.Reader) error {
	r.holes.archive = &countingReader{r: archive}
	source := tar.NewReader(r.holes.archive)
	last := ""
	for {
		header, err := source.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return blob.HeaderError(last, err)
		}
		last = header.Name
		if r.count++; r.count > maxEntries {
			return blob.NewEntryError(header.Name, fmt.Errorf("the layer has more than %d entries", maxEntries))
		}
		if err := r.add(header, source); err != nil {
			return err
		}
		r.tree.kept += len(header.Name) + len(header.Linkname)
		if err := r.takeMemory(); err != nil {
			return blob.NewEntryError(header.Name, err)
		}
	}
}

// takeMemory takes the memory that the tree has come to need. It looks after each entry, which adds
// little.
func (r *reader) takeMemory() error {
	more := int64(r.tree.kept) - r.taken
	r.taken += more
	err := r.opts.Memory.Take(more)
	var limit *budget.LimitError
	if errors.As(err, &limit) {
		return fmt.Errorf("the layer's entries, with the window to decompress it, take more than %d MiB: %w", limit.Size>>20, err)
	}
	return err
}

// add adds one entry.
func (r *reader) add(h *tar.Header, source io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // says nothing about a file
		return nil
	}
	if what := backupEntries[h.Typeflag]; what != "" {
		return blob.NewEntryError(h.Name, fmt.Errorf("its type %q is that of %s, which no layer has", h.Typeflag, what))
	}
	path, known, err := r.path(h.Name)
	if err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	o, err := ownerOf(h)
	if err != nil {
		return blob.NewEntryError(h.Name, err)
	}
	if !known {
		return r.addElsewhere(h, path, o, source)
	}
	if len(path) == 0 {
		if h.Typeflag != tar.TypeDir {
			return blob.NewEntryError(h.Name, errors.New("the image's root must be a directory"))
		}
	} else if r.holdsBack(h, path) {
		return r.hold(h, path, o, source)
	} else if key, filtered := r.opts.Rules.filterKey(path); filtered {
		r.filter(key)
		if isSpecial(h.Typeflag) || isMarker(path[len(path)-1]) {
			return nil
		}
	} else if r.isScaffold(h, path) {
		return nil
	} else {
		if isSpecial(h.Typeflag) && r.opts.DropSpecialFiles {
			r.filter(FilteredSpecial)
			r.tree.drop(path, h.Typeflag)
			return nil
		}
		if isMarker(path[len(path)-1]) {
			return r.addMarker(h, path)
		}
	}
	return r.addFile(h, path, o, source)
}

// path gives where an entry of the archive, or a hard link's target, is in the tree. Unless it is
// known, only the merge can tell, and the path is the one in the archive.
func (r *reader) path(name string) (path []string, known bool, err error) {
	if path, err = splitPath(name); err != nil {
		return nil, false, err
	}
	if path, known, err = r.tree.resolve(path); err != nil {
		return nil, false, err
	}
	return path, known, checkMarkers(path)
}

// filter counts an entry that is left out. An image can have as many names as entries: further ones
// share a key.
func (r *reader) filter(key string) {
	if r.filtered == nil {
		r.filtered = make(map[string]uint32)
	}
	if _, known := r.filtered[key]; !known && len(r.filtered) >= maxFiltered && key != FilteredSpecial {
		key = FilteredOthers
	}
	r.filtered[key]++
}

// addMarker keeps a whiteout or opaque marker, of whatever type it is, as an empty file that is the
// same in every layer.
//
// One below a file of this layer is about the directory that the file replaces, so nothing is left
// for it to remove.
func (r *reader) addMarker(h *tar.Header, path []string) error {
	if r.tree.hides(path) {
		return nil
	}
	if len(path[len(path)-1]) > maxName {
		r.tree.addMore(moreEntry{typeflag: tar.TypeReg, path: path})
		return nil
	}
	if r.marker == nil {
		marker, err := r.files.file(h.Name, unlabeled, objects.FileHeader{Mode: syscall.S_IFREG | 0o644}, 0, strings.NewReader(""))
		if err != nil {
			return err
		}
		r.marker = marker
	}
	r.tree.put(path, &node{content: r.marker})
	return nil
}

// addFile adds an entry that stands for itself. One that the path rules leave out is added too,
// because a hard link may share it.
func (r *reader) addFile(h *tar.Header, path []string, o owner, source io.Reader) error {
	switch h.Typeflag {
	case tar.TypeLink:
		target, _, err := r.path(h.Linkname)
		if err != nil {
			return blob.NewEntryError(h.Name, fmt.Errorf("a hard link to %s: %w", blob.Quote(h.Linkname), err))
		}
		if r.opts.Rules.SysrootLinks && inRepository(path) {
			r.holdLink(path, target)
			return nil
		}
		dropped, err := r.tree.putLink(&pendingLink{
			entry: h.Name, targetName: h.Linkname, path: path, target: target,
			droppable: r.isDroppable(h, path, target), here: r.opts.Rules.SysrootLinks && inScaffold(target),
		})
		if dropped {
			r.filter(FilteredSpecial)
		}
		return err
	case tar.TypeDir:
		attributes, err := xattrs(h.PAXRecords, fileType(h.Typeflag))
		if err != nil {
			return blob.NewEntryError(h.Name, err)
		}
		r.tree.putDir(path, o, uint32(h.Mode&permissions), attributes)
		return nil
	}
	written, err := r.write(h, r.labelPath(path), o, source)
	if err != nil {
		return err
	}
	r.tree.put(path, &node{content: written})
	return nil
}

// addElsewhere adds an entry on a path that this layer alone can't tell the end of.
func (r *reader) addElsewhere(h *tar.Header, path []string, o owner, source io.Reader) error {
	if key, filtered := r.opts.Rules.filterKey(path); filtered {
		r.filter(key)
		return nil
	}
	e := moreEntry{typeflag: h.Typeflag, path: path}
	var err error
	switch {
	case isSpecial(h.Typeflag) && r.opts.DropSpecialFiles:
		r.filter(FilteredSpecial)
		return nil
	case isMarker(path[len(path)-1]):
		e.typeflag = tar.TypeReg
	case h.Typeflag == tar.TypeDir:
		e.dir = &node{owner: o, mode: uint32(h.Mode & permissions)}
		if e.dir.xattrs, err = xattrs(h.PAXRecords, fileType(h.Typeflag)); err != nil {
			return blob.NewEntryError(h.Name, err)
		}
	case h.Typeflag == tar.TypeLink:
		target, _, err := r.path(h.Linkname)
		if err != nil {
			return blob.NewEntryError(h.Name, fmt.Errorf("a hard link to %s: %w", blob.Quote(h.Linkname), err))
		}
		e.link = &pendingLink{entry: h.Name, targetName: h.Linkname, path: path, target: target, kept: true}
	default:
		e.content, err = r.write(h, unlabeled, o, source)
		if h.Typeflag != tar.TypeSymlink {
			e.typeflag = tar.TypeReg
		}
	}
	r.tree.addMore(e)
	return err
}

// write writes a file or symbolic link that has its place in the commit.
func (r *reader) write(h *tar.Header, place string, o owner, source io.Reader) (written *content, err error) {
	header := objects.FileHeader{UID: o.uid, GID: o.gid, Mode: fileType(h.Typeflag)}
	if header.Xattrs, err = xattrs(h.PAXRecords, header.Mode); err != nil {
		return nil, blob.NewEntryError(h.Name, err)
	}
	switch {
	case h.Typeflag == tar.TypeSymlink:
		if err := checkTarget(h.Linkname); err != nil {
			return nil, blob.NewEntryError(h.Name, err)
		}
		header.Mode |= 0o777
		header.Target = h.Linkname
		written, err = r.files.symlink(h.Name, place, header)
	case isRegular(h.Typeflag):
		header.Mode |= uint32(h.Mode & permissions)
		if err := r.holes.expect(h); err != nil {
			return nil, blob.NewEntryError(h.Name, err)
		}
		content := &holesReader{holes: &r.holes, entry: h.Name, r: source}
		written, err = r.files.file(h.Name, place, header, h.Size, content)
	default:
		return nil, blob.NewEntryError(h.Name, unsupported(h.Typeflag))
	}
	if err != nil {
		return nil, blob.ContentError(h.Name, err)
	}
	return written, nil
}

// fileType returns the file type, as in st_mode, of an entry that is no special file.
func fileType(typeflag byte) uint32 {
	switch typeflag {
	case tar.TypeDir:
		return syscall.S_IFDIR
	case tar.TypeSymlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

func isRegular(typeflag byte) bool {
	return typeflag == tar.TypeReg || typeflag == tar.TypeCont || typeflag == tar.TypeGNUSparse
}

func isSpecial(typeflag byte) bool {
	return typeflag == tar.TypeChar || typeflag == tar.TypeBlock || typeflag == tar.TypeFifo
}

// backupEntries are the types of entries that GNU tar writes into backups only.
var backupEntries = map[byte]string{
	'D': "a directory in an incremental archive (tar --incremental, --listed-incremental)",
	'M': "a part of a file in an archive of several volumes (tar --multi-volume)",
	'V': "the label of a volume (tar --label)",
}

func unsupported(typeflag byte) error {
	switch typeflag {
	case tar.TypeChar:
		return fmt.Errorf("a character device: %w", ErrUnsupportedEntry)
	case tar.TypeBlock:
		return fmt.Errorf("a block device: %w", ErrUnsupportedEntry)
	case tar.TypeFifo:
		return fmt.Errorf("a fifo: %w", ErrUnsupportedEntry)
	}
	return fmt.Errorf("its type %q is unknown", typeflag)
}
