package ocilayout

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// tagPattern is the grammar of the annotation org.opencontainers.image.ref.name in the OCI image
// specification.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$`)

const maxTag = 1024

// splitName parts the name of an oci: or oci-archive: image into path and tag, which is "" when
// there is none. As in containers-transports(5) the path ends at the first colon.
func splitName(dest reference.Image) (path, tag string, err error) {
	if dest.Transport != reference.TransportOCI && dest.Transport != reference.TransportOCIArchive {
		return "", "", fmt.Errorf("images of the transport %q are not written here; write oci:DIR[:TAG] or oci-archive:FILE[:TAG]", dest.Transport)
	}
	path, tag, tagged := strings.Cut(dest.Name, ":")
	switch {
	case path == "":
		return "", "", errors.New("there is no path before the colon")
	case tagged && (len(tag) > maxTag || !tagPattern.MatchString(tag)):
		return "", "", fmt.Errorf("%q can't be a tag: letters and digits, parted by one of -._:@+/; a path can't contain a colon", tag)
	}
	return path, tag, nil
}
