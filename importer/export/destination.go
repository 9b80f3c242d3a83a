package export

import (
	"errors"
	"fmt"
	"strings"

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
}

// ParseDestination reads tar:FILE, squashfs:FILE, erofs:FILE, oci:DIR[:TAG], oci-archive:FILE[:TAG] and docker://NAME.
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
		switch image.Transport {
		case reference.TransportOCI, reference.TransportOCIArchive, reference.TransportRegistry:
			return Destination{Image: image}, nil
		}
	}
	return Destination{}, fmt.Errorf("%q is no destination of an export; write oci:DIR[:TAG], oci-archive:FILE[:TAG], "+
		"docker://HOST/NAME[:TAG], tar:FILE, squashfs:FILE or erofs:FILE", text)
}
