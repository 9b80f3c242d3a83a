package merge

import (
	"cmp"
	"slices"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// dir is a directory of the merged tree.
//
// One whose entries nobody has looked at is its two checksums only. Once loaded, its maps are the
// truth, and tree is the dirtree that it was loaded from or last written as.
type dir struct {
	tree, meta objects.Checksum
	files      map[string]objects.Checksum // nil until loaded
	dirs       map[string]*dir
	stale      bool // the entries are not those of tree
	moved      bool // tree or meta are not those that the parent's dirtree names
}

// newDir returns an empty directory that no dirtree names yet.
func newDir(meta objects.Checksum) *dir {
	return &dir{meta: meta, files: map[string]objects.Checksum{}, dirs: map[string]*dir{}, stale: true, moved: true}
}

func (d *dir) empty() bool { return d.files != nil && len(d.files)+len(d.dirs) == 0 }

// adopt makes a directory be what tree says.
func (d *dir) adopt(tree objects.Checksum) {
	d.tree, d.files, d.dirs, d.stale, d.moved = tree, nil, nil, false, true
}

// describe gives a directory other metadata.
func (d *dir) describe(meta objects.Checksum) {
	d.moved = d.moved || d.meta != meta
	d.meta = meta
}

func (d *dir) putFile(name string, c objects.Checksum) {
	if _, ok := d.dirs[name]; ok {
		delete(d.dirs, name)
	} else if d.files[name] == c {
		return
	}
	d.files[name] = c
	d.stale = true
}

func (d *dir) putDir(name string, child *dir) {
	delete(d.files, name)
	d.dirs[name] = child
	d.stale = true
}

// get gives what a loaded directory has under a name.
func (d *dir) get(name string) entry { return entry{d.dirs[name], d.files[name]} }

// put sets what a loaded directory has under a name.
func (d *dir) put(name string, e entry) {
	if e.dir != nil {
		d.putDir(name, e.dir)
	} else {
		d.putFile(name, e.file)
	}
}

func (d *dir) remove(name string) {
	_, file := d.files[name]
	_, sub := d.dirs[name]
	if !file && !sub {
		return
	}
	delete(d.files, name)
	delete(d.dirs, name)
	d.stale = true
}

// Memory, in bytes and without the names, that parts of the merged tree take, also when they are
// written.
const (
	fileSize = 160
	dirSize  = 512
	nameSize = 96 // of a name or checksum in a table
)

// takeTree takes the memory for the entries of a dirtree in a directory of the merged tree.
func (m *merger) takeTree(t objects.DirTree) error {
	size := fileSize*len(t.Files) + dirSize*len(t.Dirs)
	for _, f := range t.Files {
		size += len(f.Name)
	}
	for _, d := range t.Dirs {
		size += len(d.Name)
	}
	return m.memory.Take(int64(size))
}

// takeNames takes the memory for a table of names.
func (m *merger) takeNames(names []string) error {
	size := nameSize * len(names)
	for _, name := range names {
		size += len(name)
	}
	return m.memory.Take(int64(size))
}

// load reads the entries of a directory that nobody has looked at.
func (m *merger) load(d *dir) error {
	if d.files != nil {
		return nil
	}
	t, err := m.read(d.tree)
	if err == nil {
		err = m.takeTree(t)
	}
	if err != nil {
		return err
	}
	d.files = make(map[string]objects.Checksum, len(t.Files))
	for _, f := range t.Files {
		d.files[f.Name] = f.Checksum
	}
	d.dirs = make(map[string]*dir, len(t.Dirs))
	for _, c := range t.Dirs {
		d.dirs[c.Name] = &dir{tree: c.Tree, meta: c.Meta}
	}
	return nil
}

// write writes the dirtrees of d and below that differ from those that exist.
func (m *merger) write(d *dir) error {
	if d.files == nil {
		return nil
	}
	for _, c := range d.dirs {
		if err := m.write(c); err != nil {
			return err
		}
		d.stale = d.stale || c.moved
		c.moved = false
	}
	if !d.stale {
		return nil
	}
	if err := m.ctx.Err(); err != nil {
		return err
	}
	t := objects.DirTree{Files: make([]objects.TreeFile, 0, len(d.files)), Dirs: make([]objects.TreeDir, 0, len(d.dirs))}
	for name, c := range d.files {
		t.Files = append(t.Files, objects.TreeFile{Name: name, Checksum: c})
	}
	for name, c := range d.dirs {
		t.Dirs = append(t.Dirs, objects.TreeDir{Name: name, Tree: c.tree, Meta: c.meta})
	}
	slices.SortFunc(t.Files, func(a, b objects.TreeFile) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Dirs, func(a, b objects.TreeDir) int { return cmp.Compare(a.Name, b.Name) })
	tree, err := m.st.WriteDirTree(t)
	if err != nil {
		return err
	}
	d.moved = d.moved || tree != d.tree
	d.tree, d.stale = tree, false
	return nil
}
