package ocimodel

import "strings"

// Type is what an entry or a node is.
type Type string

// The types. HardLink is one of entries only.
const (
	Dir      Type = "directory"
	File     Type = "file"
	Symlink  Type = "symbolic link"
	HardLink Type = "hard link"
)

// Image is a list of layers, lowest first.
type Image struct {
	Layers []Layer
}

// Layer is a list of entries in the order of the archive.
type Layer struct {
	Entries []Entry
}

// Entry is one entry of a layer's archive.
type Entry struct {
	Path    string // without slashes at either end; "" is the root
	Type    Type
	Mode    uint32 // 07777
	UID     int
	GID     int
	Content []byte            // of a file
	Link    string            // of links: the target
	Xattrs  map[string]string // nil for none
	Prefix  string            // what the archive writes before the path: "", "./" or "/"
	GNU     bool              // written in the GNU format rather than PAX
}

// Node is one path of a tree.
type Node struct {
	Type    Type
	Mode    uint32 // 07777
	UID     int
	GID     int
	Content []byte
	Target  string
	Xattrs  map[string]string
}

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// isMarker tells whether the entry is a whiteout or an opaque marker.
func (e Entry) isMarker() bool {
	_, name := split(e.Path)
	return strings.HasPrefix(name, whiteoutPrefix)
}

// split takes the last component off a path.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// join puts two paths together, either of which may be empty.
func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// within tells whether a path is dir or below it.
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}
