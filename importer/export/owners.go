package export

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/roottree"
)

// owners decides which directories the archive of a layer lists. Those that the original archive
// listed, certainly. One that it only implied must not be listed where a layer below has it, which
// it would change. Elsewhere it is listed if an import would not make the same of it: if nothing is
// in it, or if it is not the plain directory that nobody describes, as layers have them that
// earlier versions have stored.
type owners struct {
	tree  *layerTree
	below func(path string) (bool, error)
	known map[string]implied // by path
}

// implied is what is known of an implied directory.
type implied struct {
	listed  bool
	content content
}

// content is what an archive has below a directory.
type content struct {
	any     bool // there is an entry
	content bool // there is one that is not only a whiteout or an opaque marker
}

// lists reports whether the archive lists a directory.
func (o *owners) lists(e roottree.Entry) (bool, error) {
	if !o.tree.tree.Implied[e.Path] {
		return true, nil
	}
	i, err := o.implied(e)
	return i.listed, err
}

func (o *owners) implied(e roottree.Entry) (implied, error) {
	if i, known := o.known[e.Path]; known {
		return i, nil
	}
	c, err := o.content(e)
	if err != nil {
		return implied{}, err
	}
	m, err := o.tree.DirMeta(e.Dir.Meta)
	if err != nil {
		return implied{}, err
	}
	plain := m.UID == 0 && m.GID == 0 && m.Mode == unix.S_IFDIR|0o755
	listed := false
	switch {
	case c.any && !c.content: // it is only there for what it removes
	case c.any && plain:
	case !c.any && o.emptied(e.Path):
	default:
		exists, err := o.exists(e.Path)
		if err != nil {
			return implied{}, err
		}
		listed = !exists
	}
	o.known[e.Path] = implied{listed, c}
	return o.known[e.Path], nil
}

// exists reports whether the layers below have something at a path that an implied directory leaves
// as it is, and that this layer doesn't remove first.
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

// content looks at what the archive has below a directory.
func (o *owners) content(dir roottree.Entry) (content, error) {
	t, err := o.tree.DirTree(dir.Dir.Tree)
	if err != nil {
		return content{}, err
	}
	var c content
	for _, f := range t.Files {
		c.any = true
		c.content = c.content || !strings.HasPrefix(f.Name, whiteoutPrefix)
	}
	for _, d := range t.Dirs {
		if c.content {
			break
		}
		below, err := o.dir(roottree.Entry{Path: path.Join(dir.Path, d.Name), Dir: d})
		if err != nil {
			return c, err
		}
		c.any, c.content = c.any || below.any, below.content
	}
	return c, nil
}

// dir tells what the archive has of a directory in another.
func (o *owners) dir(e roottree.Entry) (content, error) {
	if o.tree.tree.Implied[e.Path] {
		i, err := o.implied(e)
		if err != nil || !i.listed {
			return i.content, err
		}
	}
	return content{true, true}, nil
}
