package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
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
		return "", &importer.Error{Kind: importer.KindInvalidReference, Err: err}
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

// storedImage returns the name of a stored image. A name that is stored as it stands counts, also a
// relative path, which other programs and earlier versions have recorded; otherwise a relative path
// is one of the working directory.
func (s *settings) storedImage(ctx context.Context, text string) (string, error) {
	ref, err := reference.Parse(text)
	if err != nil { // the ref of an image whose name cannot be read, which only a list shows
		return text, nil
	}
	if path, _, isPath := ref.Image.Path(); !isPath || filepath.IsAbs(path) {
		return text, nil
	}
	_, err = ask(ctx, s,
		func(imp *importer.Importer) (*importer.Image, error) { return imp.Image(ctx, text) },
		func(client *dbus.Client) (*importer.Image, error) { return client.Image(ctx, text) })
	switch {
	case err == nil:
		return text, nil
	case importer.KindOf(err) != importer.KindNoSuchImage:
		return "", err
	}
	if _, err := makeAbsolute(&ref.Image); err != nil {
		return "", err
	}
	if ref.Signature.Kind == reference.PolicyInsecureAllowed {
		return ref.Image.String(), nil // as lists show it
	}
	return ref.String(), nil
}

// storedNames is storedImage for several names.
func (s *settings) storedNames(ctx context.Context, texts []string) ([]string, error) {
	var names []string
	for _, text := range texts {
		name, err := s.storedImage(ctx, text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
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
		return "", usageError{err}
	}
	moved, err := makeAbsolute(&image)
	if err != nil || !moved {
		return text, err
	}
	return image.String(), nil
}
