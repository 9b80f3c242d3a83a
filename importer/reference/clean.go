package reference

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// CleanPath returns an absolute path without repeated slashes and ".". It refuses a relative path,
// and "..", which leads elsewhere when what is before it is a symbolic link.
func CleanPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", path)
	}
	if slices.Contains(strings.Split(path, "/"), "..") {
		return "", fmt.Errorf("%q leads through \"..\"; write the path that it stands for", path)
	}
	return filepath.Clean(path), nil
}

// Clean returns the image with its path, if its transport has one, as CleanPath returns it. The
// paths of a containers-storage name have to be clean.
func (i Image) Clean() (Image, error) {
	if i.Transport == TransportContainersStorage {
		return i, checkStore(i.Name)
	}
	path, rest, isPath := i.Path()
	if !isPath {
		return i, nil
	}
	path, err := CleanPath(path)
	i.Name = path + rest
	return i, err
}

// checkStore refuses the paths of a containers-storage name, [DRIVER@PATH+PATH]NAME, unless they
// are clean.
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
		clean, err := CleanPath(part)
		if err != nil {
			return err
		}
		if clean != part {
			return fmt.Errorf("%q: write %q for the path", name, clean)
		}
	}
	return nil
}
