package main

import (
	"fmt"
	"path/filepath"

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
	switch ref.Image.Transport {
	case reference.TransportOCI, reference.TransportOCIArchive, reference.TransportDockerArchive, reference.TransportDir:
	default:
		return text, nil
	}
	if filepath.IsAbs(ref.Image.Name) {
		return text, nil
	}
	if ref.Image.Name, err = filepath.Abs(ref.Image.Name); err != nil {
		return "", err
	}
	return ref.String(), nil
}
