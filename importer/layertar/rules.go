package layertar

import "strings"

// Rules are the path rules: where the top-level directories of an image have their place in an
// OSTree commit.
//
//	usr                  stays
//	etc                  becomes usr/etc
//	var                  stays, or becomes usr/share/factory/var
//	run tmp proc sys dev stay themselves, but nothing below them does
//	any other            stays, or is left out
//
// A whiteout of a top-level directory goes where the directory goes.
type Rules struct {
	FactoryVar bool // var becomes usr/share/factory/var: libostree before 2024.3 can't deploy a commit with content in var
	OnlyUsr    bool // other top levels are left out, as on a host whose root directory is not writable; false for plain images
	// SysrootLinks is for layers of images with an encapsulated commit. Their files are hard links
	// to the objects of a repository in the image, sysroot/ostree/repo. When a file is changed in a
	// build, an archive can have the new content under the object's name, and the file as a hard
	// link to that: then it is the link that gets the file, and the object isn't kept. A hard link
	// to an object that the archive doesn't have is left out, since the file is still what the
	// commit says.
	SysrootLinks bool
}

// rulesVersion begins the text of the rules. It changes when the same rules make another commit of
// some layer: a layer commit with another version does not say what this version needs to know.
const rulesVersion = "2"

// String is the text that a layer commit records. It stands for all that decides on the paths of a
// layer commit: a layer that was stored with another text has to be imported again.
func (r Rules) String() string {
	text := rulesVersion
	if r.FactoryVar {
		text += " factory-var"
	}
	if r.OnlyUsr {
		text += " only-usr"
	}
	if r.SysrootLinks {
		text += " sysroot-links"
	}
	return text
}

// ParseRules gives the rules that String, of this version or an earlier one, has made a text of.
// It gives the zero value for any other text.
func ParseRules(text string) Rules {
	version, options, _ := strings.Cut(text, " ")
	if version != "1" && version != rulesVersion {
		return Rules{}
	}
	options = " " + options + " "
	return Rules{
		FactoryVar:   strings.Contains(options, " factory-var "),
		OnlyUsr:      strings.Contains(options, " only-usr "),
		SysrootLinks: strings.Contains(options, " sysroot-links "),
	}
}

// Keys of MetaFiltered that are not names of files and directories.
const (
	FilteredSpecial = "special files" // what Options.DropSpecialFiles leaves out
	FilteredOthers  = "other names"   // names beyond the first maxFiltered of a layer
)

// maxFiltered bounds the names by which a layer's entries that are left out are counted.
const maxFiltered = 100

const (
	whiteoutPrefix = ".wh."     // .wh.NAME removes NAME
	aufsPrefix     = ".wh..wh." // private to aufs, and never a file's name
	opaqueMarker   = ".wh..wh..opq"
)

// filterKey gives the key under which the entry at path, with at least one component, is counted
// when it is left out.
func (r Rules) filterKey(path []string) (key string, filtered bool) {
	for _, name := range path {
		if isAufs(name) {
			return name, true
		}
	}
	switch top := strings.TrimPrefix(path[0], whiteoutPrefix); {
	case isRuntimeTop(path[0]) && len(path) > 1:
		return path[1], true
	case !isRuntimeTop(top) && !r.Holds(top) && path[0] != opaqueMarker:
		return path[0], true
	}
	return "", false
}

// Place gives the path in a commit of a top-level directory of the image, without a leading slash.
func (r Rules) Place(top string) string {
	switch {
	case top == "etc":
		return "usr/etc"
	case top == "var" && r.FactoryVar:
		return "usr/share/factory/var"
	}
	return top
}

// Moved gives the top-level directories whose Place is not their name, with their Place.
func (r Rules) Moved() map[string]string {
	moved := make(map[string]string)
	for _, top := range []string{"etc", "var"} {
		if place := r.Place(top); place != top {
			moved[top] = place
		}
	}
	return moved
}

// Holds reports whether a commit holds what the image has below a top-level directory.
func (r Rules) Holds(top string) bool {
	switch top {
	case "usr", "etc", "var":
		return true
	}
	return !r.OnlyUsr && !isRuntimeTop(top)
}

// place is where a top-level entry of the image belongs.
func (r Rules) place(name string) []string {
	place := r.Place(strings.TrimPrefix(name, whiteoutPrefix))
	dir := strings.Split(place, "/")
	dir[len(dir)-1] = name // which may be that of a whiteout
	return dir
}

// inCommit gives the absolute path in a commit of an entry of the image that is not left out.
func (r Rules) inCommit(path []string) string {
	return "/" + strings.Join(r.place(path[0]), "/") + strings.TrimSuffix("/"+strings.Join(path[1:], "/"), "/")
}

// isRuntimeTop reports whether a top-level directory gets its content when the system runs.
func isRuntimeTop(name string) bool {
	switch name {
	case "run", "tmp", "proc", "sys", "dev":
		return true
	}
	return false
}

func isAufs(name string) bool {
	return strings.HasPrefix(name, aufsPrefix) && name != opaqueMarker
}

// isMarker reports whether a name is that of a whiteout or an opaque marker.
func isMarker(name string) bool {
	return strings.HasPrefix(name, whiteoutPrefix) && !isAufs(name)
}
