package export

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Format is what a destination is written as.
type Format string

// The formats of roots, as they stand before the colon of a destination.
const (
	Tar      Format = "tar"
	Squashfs Format = "squashfs"
	EROFS    Format = "erofs"
)

// Destination is where to write.
type Destination struct {
	Root  Format          // of a root; "" for an image
	Path  string          // of a root's file
	Image reference.Image // of an image
	// Parent is the directory that a root's file is in, if somebody has opened it; it stays theirs.
	// nil: the one in Path.
	Parent *dirfd.Dir
}

// archiveName is the name that an image has in a docker-archive, after a colon:
// [HOST[:PORT]/]PATH[:TAG].
var archiveName = regexp.MustCompile(`^:([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*` +
	`(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$`)

// ParseDestination reads tar:FILE, squashfs:FILE, erofs:FILE, oci:DIR[:TAG],
// oci-archive:FILE[:TAG], docker://NAME, dir:DIR, docker-archive:FILE[:NAME] and
// containers-storage:NAME.
func ParseDestination(text string) (Destination, error) {
	kind, path, _ := strings.Cut(text, ":")
	switch format := Format(kind); format {
	case Tar, Squashfs, EROFS:
		switch {
		case path == "":
			return Destination{}, fmt.Errorf("%q names no file; write %s:FILE", text, kind)
		case strings.HasSuffix(path, "/"):
			return Destination{}, fmt.Errorf("%q names a directory; write %s:FILE", text, kind)
		case strings.ContainsRune(path, 0):
			return Destination{}, errors.New("the destination contains a NUL")
		}
		return Destination{Root: format, Path: path}, nil
	}
	image, err := reference.ParseImage(text)
	if err == nil {
		err = CheckImage(image)
	}
	if err != nil {
		return Destination{}, fmt.Errorf("%w; a root is written to tar:FILE, squashfs:FILE or erofs:FILE", err)
	}
	return Destination{Image: image}, nil
}

// CheckImage refuses what no image is written to.
func CheckImage(dest reference.Image) error {
	switch dest.Transport {
	case reference.TransportOCI, reference.TransportOCIArchive, reference.TransportRegistry, reference.TransportDir,
		reference.TransportContainersStorage:
		return nil
	case reference.TransportDockerArchive:
		// An image that is in an archive already can be named by its index there.
		if path, rest, _ := dest.Path(); path == "" || rest != "" && !archiveName.MatchString(rest) {
			return fmt.Errorf("%q names no archive to write; write docker-archive:FILE[:NAME[:TAG]], where NAME is lower-case", dest)
		}
		return nil
	}
	return fmt.Errorf("an image can't be written to %q; write oci:DIR[:TAG], oci-archive:FILE[:TAG], docker://HOST/NAME[:TAG], "+
		"dir:DIR, docker-archive:FILE[:NAME] or containers-storage:NAME", dest)
}
