package objects

import (
	"bytes"
	"fmt"
)

// DirTree is a dirtree object: the entries of a directory. Both lists are sorted by the bytes of
// the name, and no name is twice in them.
type DirTree struct {
	Files []TreeFile
	Dirs  []TreeDir
}

// TreeFile is a regular file or a symlink in a directory.
type TreeFile struct {
	Name     string
	Checksum Checksum
}

// TreeDir is a directory in a directory.
type TreeDir struct {
	Name       string
	Tree, Meta Checksum
}

// Marshal returns the object's bytes. It neither sorts nor checks.
func (t DirTree) Marshal() []byte {
	dst := make([]byte, 0, t.marshalledSize())
	dst = appendTreeFiles(dst, t.Files)
	filesEnd := len(dst)
	dst = appendArray(dst, len(t.Dirs), 1, func(dst []byte, i int) []byte {
		start := len(dst)
		dst = appendString(dst, t.Dirs[i].Name)
		nameEnd := len(dst)
		dst = append(dst, t.Dirs[i].Tree[:]...)
		treeEnd := len(dst)
		dst = append(dst, t.Dirs[i].Meta[:]...)
		return appendOffsets(dst, start, treeEnd, nameEnd)
	})
	return appendOffsets(dst, 0, filesEnd)
}

// appendTreeFiles appends an a(say).
func appendTreeFiles(dst []byte, files []TreeFile) []byte {
	return appendArray(dst, len(files), 1, func(dst []byte, i int) []byte {
		start := len(dst)
		dst = appendString(dst, files[i].Name)
		end := len(dst)
		dst = append(dst, files[i].Checksum[:]...)
		return appendOffsets(dst, start, end)
	})
}

// marshalledSize returns a capacity that is enough for Marshal.
func (t DirTree) marshalledSize() int {
	const (
		widest     = 8
		fileFrames = len(Checksum{}) + 1 + 2*widest   // NUL, offset in the element, offset in the array
		dirFrames  = 2*len(Checksum{}) + 1 + 3*widest // with two offsets in the element
	)
	size := widest
	for i := range t.Files {
		size += len(t.Files[i].Name) + fileFrames
	}
	for i := range t.Dirs {
		size += len(t.Dirs[i].Name) + dirFrames
	}
	return size
}

// ParseDirTree is the inverse of Marshal. It fails for names that ValidName refuses, that are not
// sorted, or that are there twice.
func ParseDirTree(b []byte) (DirTree, error) {
	t, err := parseDirTree(b)
	if err != nil {
		return DirTree{}, fmt.Errorf("dirtree: %w", err)
	}
	return t, nil
}

func parseDirTree(b []byte) (DirTree, error) {
	member := newTuple(b, 1)
	files, dirs := member.variable(1), member.last(1)
	if member.err != nil {
		return DirTree{}, member.err
	}
	var t DirTree
	var err error
	if t.Files, err = parseTreeFiles(files); err != nil {
		return DirTree{}, err
	}
	if t.Dirs, err = parseTreeDirs(dirs); err != nil {
		return DirTree{}, err
	}
	if err := t.checkNames(); err != nil {
		return DirTree{}, err
	}
	if !bytes.Equal(t.Marshal(), b) {
		return DirTree{}, errNotNormal
	}
	return t, nil
}

func parseTreeFiles(b []byte) ([]TreeFile, error) {
	elements, err := newArray(b, 1, len("\x00")+len(Checksum{}))
	if err != nil || elements.len() == 0 {
		return nil, err
	}
	files := make([]TreeFile, elements.len())
	for i := range files {
		element, err := elements.at(i)
		if err != nil {
			return nil, err
		}
		member := newTuple(element, 1)
		files[i].Name = member.str()
		sum := member.last(1)
		if member.err != nil {
			return nil, member.err
		}
		if files[i].Checksum, err = parseChecksum(sum); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func parseTreeDirs(b []byte) ([]TreeDir, error) {
	elements, err := newArray(b, 1, len("\x00")+2*len(Checksum{}))
	if err != nil || elements.len() == 0 {
		return nil, err
	}
	dirs := make([]TreeDir, elements.len())
	for i := range dirs {
		element, err := elements.at(i)
		if err != nil {
			return nil, err
		}
		member := newTuple(element, 2)
		dirs[i].Name = member.str()
		tree, meta := member.variable(1), member.last(1)
		if member.err != nil {
			return nil, member.err
		}
		if dirs[i].Tree, err = parseChecksum(tree); err != nil {
			return nil, err
		}
		if dirs[i].Meta, err = parseChecksum(meta); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// checkNames walks both sorted lists as one.
func (t DirTree) checkNames() error {
	files, dirs := t.Files, t.Dirs
	last := ""
	for len(files) > 0 || len(dirs) > 0 {
		var name string
		if len(dirs) == 0 || len(files) > 0 && files[0].Name <= dirs[0].Name {
			name, files = files[0].Name, files[1:]
		} else {
			name, dirs = dirs[0].Name, dirs[1:]
		}
		if err := ValidName(name); err != nil {
			return err
		}
		if name <= last {
			return fmt.Errorf("the name %q is there twice or not in order", name)
		}
		last = name
	}
	return nil
}
