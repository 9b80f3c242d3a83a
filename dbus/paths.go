package dbus

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Paths that a caller names are brought into one spelling before polkit sees them, and what runs uses that spelling: a rule
// about /etc must not be passed by /srv/../etc or //etc. Symbolic links stay what they are.

// cleanPath returns an absolute path without repeated slashes and ".". It refuses "..", which leads elsewhere when what is
// before it is a symbolic link.
func cleanPath(path string) (string, error) {
	if err := checkAbsolute(path); err != nil {
		return "", err
	}
	if slices.Contains(strings.Split(path, "/"), "..") {
		return "", fmt.Errorf("%q leads through \"..\"; write the path that it stands for", path)
	}
	return filepath.Clean(path), nil
}

// cleanReference returns the text of an image reference with its path, if it has one, as cleanPath returns it.
func cleanReference(text string) (string, error) {
	ref, err := reference.Parse(text)
	if err != nil {
		return "", invalidReference(err)
	}
	name, err := cleanName(ref.Image)
	if err != nil {
		return "", invalidReference(err)
	}
	if name == ref.Image.Name {
		return text, nil
	}
	ref.Image.Name = name
	return ref.String(), nil
}

// cleanName returns the name of an image with its path as cleanPath returns it.
func cleanName(image reference.Image) (string, error) {
	path, rest := image.Name, ""
	switch image.Transport {
	case reference.TransportDir:
	case reference.TransportOCI, reference.TransportOCIArchive, reference.TransportDockerArchive:
		if colon := strings.IndexByte(path, ':'); colon >= 0 {
			path, rest = path[:colon], path[colon:]
		}
	case reference.TransportContainersStorage:
		return image.Name, checkStore(image.Name)
	default:
		return image.Name, nil
	}
	path, err := cleanPath(path)
	return path + rest, err
}

// checkStore refuses the paths of a containers-storage name, [DRIVER@PATH+PATH]NAME, unless they are clean.
func checkStore(name string) error {
	store, _, found := strings.Cut(strings.TrimPrefix(name, "["), "]")
	if !found || !strings.HasPrefix(name, "[") {
		return nil
	}
	parts := strings.FieldsFunc(store, func(r rune) bool { return strings.ContainsRune("@+:,=", r) })
	for _, part := range parts {
		if !strings.Contains(part, "/") {
			continue
		}
		clean, err := cleanPath(part)
		if err != nil {
			return err
		}
		if clean != part {
			return fmt.Errorf("%q: write %q for the path", name, clean)
		}
	}
	return nil
}

// cleanRequest cleans the references of a request to fetch an image.
func cleanRequest(r *importer.Request) (err error) {
	if r.Image, err = cleanReference(r.Image); err != nil || r.Target == "" {
		return err
	}
	r.Target, err = cleanReference(r.Target)
	return err
}

// pathDestinations are the kinds of destinations that are paths. The value says that the path is that of a file, without a tag.
var pathDestinations = map[string]bool{
	"oci": false, "oci-archive": false, "docker-archive": false, "dir": false, "tar": true, "squashfs": true, "erofs": true,
}

// cleanDestination returns a destination with its path, if it has one, as cleanPath returns it. A relative path is refused: the
// daemon has another working directory than its caller.
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
	path, err := cleanPath(path)
	if err != nil {
		return "", invalidOption("the destination %q: %w", destination, err)
	}
	return kind + ":" + path + tag, nil
}
