package dbus

import (
	"strings"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Paths that a caller names are brought into one spelling before polkit sees them, and what runs
// uses that spelling: a rule about /etc must not be passed by /srv/../etc or //etc. Symbolic links
// stay what they are.

// cleanReference returns the text of an image reference with its path, if it has one, as
// reference.CleanPath returns it.
func cleanReference(text string) (string, error) {
	ref, err := reference.Parse(text)
	if err != nil {
		return "", invalidReference(err)
	}
	clean, err := ref.Image.Clean()
	if err != nil {
		return "", invalidReference(err)
	}
	if clean == ref.Image {
		return text, nil
	}
	ref.Image = clean
	return ref.String(), nil
}

// cleanRequest cleans the references of a request to fetch an image.
func cleanRequest(r *importer.Request) (err error) {
	if r.Image, err = cleanReference(r.Image); err != nil || r.Target == "" {
		return err
	}
	r.Target, err = cleanReference(r.Target)
	return err
}

// pathDestinations are the kinds of destinations that are paths. The value says that the path is
// that of a file, without a tag.
var pathDestinations = map[string]bool{
	"oci": false, "oci-archive": false, "docker-archive": false, "dir": false, "tar": true, "squashfs": true, "erofs": true,
}

// cleanDestination returns a destination with its path, if it has one, as reference.CleanPath
// returns it. A relative path is refused: the daemon has another working directory than its caller.
func cleanDestination(destination string) (string, error) {
	if destination == "" {
		return "", invalidOption("the destination is empty; name one, such as oci:/srv/image:tag")
	}
	kind, path, _ := strings.Cut(destination, ":")
	file, isPath := pathDestinations[kind]
	if !isPath {
		return destination, nil
	}
	if file && strings.HasSuffix(path, "/") {
		return "", invalidOption("the destination %q names a directory; name a file", destination)
	}
	tag := ""
	if colon := strings.IndexByte(path, ':'); !file && kind != "dir" && colon >= 0 {
		path, tag = path[:colon], path[colon:]
	}
	path, err := reference.CleanPath(path)
	if err != nil {
		return "", invalidOption("the destination %q: %w", destination, err)
	}
	return kind + ":" + path + tag, nil
}
