package reference

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// Transport is where an image is found, by the names of containers-transports(5), except that
// "docker" is called "registry".
type Transport string

// The transports.
const (
	TransportRegistry          Transport = "registry"
	TransportOCI               Transport = "oci"
	TransportOCIArchive        Transport = "oci-archive"
	TransportDockerArchive     Transport = "docker-archive"
	TransportContainersStorage Transport = "containers-storage"
	TransportDir               Transport = "dir"
	TransportDockerDaemon      Transport = "docker-daemon"
)

const transportHint = "write docker://HOST/NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR, " +
	"containers-storage:NAME or docker-daemon:NAME"

// Image names an image: an ImageReference of ostree-ext.
type Image struct {
	Transport Transport
	Name      string // of a registry image: without "//"
}

// ParseImage reads an ImageReference: "docker://NAME", "registry:NAME", or "TRANSPORT:NAME" with
// another transport. The name is not looked into.
func ParseImage(s string) (Image, error) {
	if s == "" {
		return Image{}, errors.New("the image reference is empty; " + transportHint)
	}
	transport, name, found := strings.Cut(s, ":")
	if !found {
		return Image{}, fmt.Errorf("%q has no transport; %s", s, transportHint)
	}
	image := Image{Transport: Transport(transport), Name: name}
	switch image.Transport {
	case "docker":
		rest, slashes := strings.CutPrefix(name, "//")
		if !slashes {
			return Image{}, fmt.Errorf("%q lacks the slashes of a registry image; write docker://%s", s, name)
		}
		image = Image{Transport: TransportRegistry, Name: rest}
	case TransportRegistry, TransportOCI, TransportOCIArchive, TransportDockerArchive, TransportContainersStorage,
		TransportDir, TransportDockerDaemon:
	default:
		return Image{}, fmt.Errorf("%q has the unknown transport %q; %s", s, transport, transportHint)
	}
	return image, image.check(s)
}

// check refuses names that no transport has, as part of the text s.
func (i Image) check(s string) error {
	switch {
	case i.Name == "":
		return fmt.Errorf("%q names no image; %s", s, transportHint)
	case i.Transport == TransportRegistry && strings.HasPrefix(i.Name, "/"):
		return fmt.Errorf("%q has slashes where the registry's name belongs; write docker://%s", s, strings.TrimLeft(i.Name, "/"))
	case i.Transport == TransportRegistry && strings.HasPrefix(i.Name, "docker://"):
		return fmt.Errorf("%q has a second transport in the name; write %s", s, i.Name)
	case !utf8.ValidString(s):
		return fmt.Errorf("the image reference %q is not UTF-8", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("the image reference %q contains a control character", s)
	}
	return nil
}

// String prints "docker://NAME" for a registry image and "TRANSPORT:NAME" for the others, as skopeo
// takes it.
func (i Image) String() string {
	if i.Transport == TransportRegistry {
		return "docker://" + i.Name
	}
	return string(i.Transport) + ":" + i.Name
}

// Path parts the name of an image that is a file or a directory of this host: its path, and what
// follows, which is "" or begins with the first colon. As in containers-transports(5) only a
// directory of the transport dir can have a colon. isPath is false for the other transports.
func (i Image) Path() (path, rest string, isPath bool) {
	switch i.Transport {
	case TransportDir:
		return i.Name, "", true
	case TransportOCI, TransportOCIArchive, TransportDockerArchive:
		if colon := strings.IndexByte(i.Name, ':'); colon >= 0 {
			return i.Name[:colon], i.Name[colon:], true
		}
		return i.Name, "", true
	}
	return "", "", false
}

// Digest is the manifest digest that a registry image's name pins, or "" when it pins none or is of
// another transport.
func (i Image) Digest() digest.Digest {
	if i.Transport != TransportRegistry {
		return ""
	}
	_, after, _ := strings.Cut(i.Name, "@")
	pinned := digest.Digest(after)
	if pinned.Validate() != nil {
		return ""
	}
	return pinned
}

// Pinned is the registry image with its tag or digest replaced by d; skopeo refuses a name that has
// both. Images of other transports can't be pinned and are returned unchanged.
func (i Image) Pinned(d digest.Digest) Image {
	if i.Transport != TransportRegistry {
		return i
	}
	name, _, _ := strings.Cut(i.Name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	i.Name = name + "@" + d.String()
	return i
}
