package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// absolute makes a path of the command line independent of the working
// directory, which the daemon does not share. An empty path stays empty.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// absoluteImage makes the path in a reference like oci:DIR:TAG absolute, so
// that it means the same to the daemon and when it is read back later.
func absoluteImage(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	ref, err := reference.Parse(text)
	if err != nil {
		return "", usageError{fmt.Errorf("%q: %w", text, err)}
	}
	moved, err := makeAbsolute(&ref.Image)
	if err != nil || !moved {
		return text, err
	}
	return ref.String(), nil
}

// makeAbsolute makes the path of an image absolute and leaves its tag alone;
// moved is false for one that is no relative path.
func makeAbsolute(image *reference.Image) (moved bool, err error) {
	path, tag, isPath := image.Path()
	if !isPath || path == "" || filepath.IsAbs(path) {
		return false, nil
	}
	if path, err = absolute(path); err != nil {
		return false, err
	}
	if image.Transport != reference.TransportDir && strings.Contains(path, ":") {
		return false, usageError{fmt.Errorf("the path %q has a colon, where a tag would begin; "+
			"work from a directory without one", path)}
	}
	image.Name = path + tag
	return true, nil
}

// storedImage is absoluteImage for the name of a stored image, which can be
// one that only a list shows.
func storedImage(text string) string {
	name, err := absoluteImage(text)
	if err != nil || name == text {
		return text
	}
	// It was made absolute; lists show it without a signature policy.
	if ref, err := reference.Parse(name); err == nil {
		return ref.Image.String()
	}
	return name
}

// rootDestinations are the kinds of destinations that are files with a root
// file system.
var rootDestinations = []string{"tar:", "squashfs:", "erofs:"}

// absoluteDestination makes the path in a destination absolute.
func absoluteDestination(text string) (string, error) {
	for _, kind := range rootDestinations {
		path, is := strings.CutPrefix(text, kind)
		if !is {
			continue
		}
		if path == "" || strings.HasSuffix(path, "/") {
			return "", usageError{fmt.Errorf("%q: a file has to follow", text)}
		}
		path, err := absolute(path)
		return kind + path, err
	}
	image, err := reference.ParseImage(text)
	if err != nil {
		return "", usageError{fmt.Errorf("%q: %w", text, err)}
	}
	moved, err := makeAbsolute(&image)
	if err != nil || !moved {
		return text, err
	}
	return image.String(), nil
}
