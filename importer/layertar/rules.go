package layertar

import "strings"

// Rules are the path rules: where the top-level directories of an image have their place in an OSTree commit.
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
}

// String is the text that a layer commit records. It stands for all that decides on the paths of a layer commit: another text
// means that the layer has to be imported anew.
func (r Rules) String() string {
	text := "1"
	if r.FactoryVar {
		text += " factory-var"
	}
	if r.OnlyUsr {
		text += " only-usr"
	}
	return text
}

// FilteredSpecial is the key under which Options.DropSpecialFiles counts. The other keys are names of files and directories.
const FilteredSpecial = "special files"

const (
	whiteoutPrefix = ".wh."     // .wh.NAME removes NAME
	aufsPrefix     = ".wh..wh." // private to aufs, and never a file's name
	opaqueMarker   = ".wh..wh..opq"
)

// filterKey gives the key under which the entry at path, with at least one component, is counted when it is left out.
func (r Rules) filterKey(path []string) (key string, filtered bool) {
	for _, name := range path {
		if isAufs(name) {
			return name, true
		}
	}
	switch top := strings.TrimPrefix(path[0], whiteoutPrefix); {
	case isRuntimeTop(path[0]) && len(path) > 1:
		return path[1], true
	case r.OnlyUsr && top != "usr" && top != "etc" && top != "var" && !isRuntimeTop(top) && path[0] != opaqueMarker:
		return path[0], true
	}
	return "", false
}

// place is where a top-level entry of the image belongs.
func (r Rules) place(name string) []string {
	switch strings.TrimPrefix(name, whiteoutPrefix) {
	case "etc":
		return []string{"usr", name}
	case "var":
		if r.FactoryVar {
			return []string{"usr", "share", "factory", name}
		}
	}
	return []string{name}
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
