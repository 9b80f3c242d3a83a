package export

import (
	"path"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// owners decides which directories the archive of a layer lists. Those that the original archive listed, certainly. One that it only
// implied must not be listed where a layer below has it, which it would change. At the import an implied directory gets the owner of
// its first entry, and that may be another one in this archive, since it is sorted. Then the directory has to be listed, if nothing is
// below.
type owners struct {
	tree  *layerTree
	below func(path string) (bool, error)
	known map[string]implied // by path
}

// implied is what is known of an implied directory.
type implied struct {
	listed  bool
	entries first
}

// owner is the user and group of an entry.
type owner struct{ uid, gid uint32 }

// first is what an importer sees of a directory's entries.
type first struct {
	owner
	any     bool // there is an entry
	content bool // there is one that is not only a whiteout or an opaque marker
}

// lists reports whether the archive lists a directory.
func (o *owners) lists(e roottree.Entry) (bool, error) {
	if !o.tree.implied[e.Path] {
		return true, nil
	}
	i, err := o.implied(e)
	return i.listed, err
}

func (o *owners) implied(e roottree.Entry) (implied, error) {
	if i, known := o.known[e.Path]; known {
		return i, nil
	}
	f, err := o.entries(e)
	if err != nil {
		return implied{}, err
	}
	m, err := o.tree.DirMeta(e.Dir.Meta)
	if err != nil {
		return implied{}, err
	}
	listed := false
	switch {
	case f.any && !f.content: // it is only there for what it removes
	case f.any && f.owner == (owner{m.UID, m.GID}):
	case !f.any && o.emptied(e.Path):
	default:
		exists, err := o.exists(e.Path)
		if err != nil {
			return implied{}, err
		}
		listed = !exists
	}
	o.known[e.Path] = implied{listed, f}
	return o.known[e.Path], nil
}

// exists reports whether the layers below have something at a path that an implied directory leaves as it is, and that this layer doesn't
// remove first.
func (o *owners) exists(at string) (bool, error) {
	removed, err := o.tree.removes(at)
	if err != nil || removed {
		return false, err
	}
	return o.below(o.tree.inCommit(at))
}

// emptied reports whether a directory holds something only in the commit, not in the image.
func (o *owners) emptied(dir string) bool {
	for _, place := range o.tree.moved {
		if strings.HasPrefix(place, dir+"/") {
			return true
		}
	}
	return false
}

// entries looks at what the archive has below a directory.
func (o *owners) entries(dir roottree.Entry) (first, error) {
	var f first
	t, err := o.tree.DirTree(dir.Dir.Tree)
	if err != nil {
		return f, err
	}
	files, dirs := t.Files, t.Dirs
	for (len(files) > 0 || len(dirs) > 0) && !f.content {
		var next first
		if len(dirs) == 0 || len(files) > 0 && files[0].Name < dirs[0].Name {
			next, err = o.file(files[0])
			files = files[1:]
		} else {
			next, err = o.dir(roottree.Entry{Path: path.Join(dir.Path, dirs[0].Name), Dir: dirs[0]})
			dirs = dirs[1:]
		}
		if err != nil {
			return f, err
		}
		if !f.any {
			f.owner, f.any = next.owner, next.any
		}
		f.content = f.content || next.content
	}
	return f, nil
}

func (o *owners) file(file objects.TreeFile) (first, error) {
	h, r, err := o.tree.OpenFile(file.Checksum)
	if err != nil {
		return first{}, err
	}
	return first{owner{h.UID, h.GID}, true, !strings.HasPrefix(file.Name, whiteoutPrefix)}, r.Close()
}

func (o *owners) dir(e roottree.Entry) (first, error) {
	if o.tree.implied[e.Path] {
		i, err := o.implied(e)
		if err != nil || !i.listed {
			return i.entries, err
		}
	}
	m, err := o.tree.DirMeta(e.Dir.Meta)
	return first{owner{m.UID, m.GID}, true, true}, err
}
