package merge

import (
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
)

// paths knows where the path rules put the top levels of an image. All paths are written without a
// leading slash.
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

// holdsContent tells whether a commit holds what an image has below the path.
func (p paths) holdsContent(image string) bool {
	top, _, _ := strings.Cut(image, "/")
	return p.rules.Holds(top)
}

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
