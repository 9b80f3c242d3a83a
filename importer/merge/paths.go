package merge

import (
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
)

// paths knows where the path rules put the top levels of an image.
//
// Symbolic links speak of paths in the image, dirtrees of paths in the commit; both are written without a leading slash.
type paths struct {
	rules layertar.Rules
	moved map[string]string // top level of the image → its place in the commit
}

func newPaths(rules layertar.Rules) paths {
	return paths{rules: rules, moved: rules.Moved()}
}

// inCommit gives the place in the commit of a path of the image.
func (p paths) inCommit(image string) string {
	top, rest, _ := strings.Cut(image, "/")
	return join(p.rules.Place(top), rest)
}

// inImage gives the path in the image of a place in the commit.
func (p paths) inImage(at string) string {
	for top, place := range p.moved {
		if rest, ok := strings.CutPrefix(at+"/", place+"/"); ok {
			return strings.TrimSuffix(top+"/"+rest, "/")
		}
	}
	return at
}

// holdsContent tells whether a commit holds what an image has below the path.
func (p paths) holdsContent(image string) bool {
	top, _, _ := strings.Cut(image, "/")
	return p.rules.Holds(top)
}

// kept lists places that stay when a marker hides what is around them: the top levels that the image had elsewhere. They are
// relative to the directory in question.
type kept []string

// keptBelow gives what stays below a place in the commit. Below the root itself that is nothing less than all of the list: a
// whiteout of usr in the root is not about etc.
func (p paths) keptBelow(at string) kept {
	var k kept
	for _, place := range p.moved {
		if rest, ok := strings.CutPrefix("/"+place, strings.TrimSuffix("/"+at, "/")+"/"); ok {
			k = append(k, rest)
		}
	}
	return k
}

// below gives what stays below the entry name.
func (k kept) below(name string) kept {
	var below kept
	for _, path := range k {
		if rest, ok := strings.CutPrefix(path, name+"/"); ok {
			below = append(below, rest)
		}
	}
	return below
}

// has tells whether the entry name itself stays.
func (k kept) has(name string) bool { return slices.Contains(k, name) }

// join puts two relative paths together, either of which may be empty.
func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// split takes the last component off a path.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
