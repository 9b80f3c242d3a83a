package reference

import (
	"fmt"
	"regexp"
	"strings"
)

// SignatureKind says how the authenticity of an image is to be checked.
type SignatureKind string

// The signature kinds, by the scheme that stands for them.
const (
	// PolicyStrict means that the containers policy decides, and must not accept everything by
	// default.
	PolicyStrict SignatureKind = "ostree-image-signed"
	// PolicyInsecureAllowed means that the containers policy decides, whatever it says.
	PolicyInsecureAllowed SignatureKind = "ostree-unverified-image"
	// Remote means that the commit inside the image is verified with the keys of a named OSTree
	// remote.
	Remote SignatureKind = "ostree-remote-image"
)

// Schemes that are short for a SignatureKind with a registry image.
const (
	unverifiedRegistry = "ostree-unverified-registry"
	remoteRegistry     = "ostree-remote-registry"
)

// Signature is the signature part of a Reference.
type Signature struct {
	Kind   SignatureKind
	Remote string // the OSTree remote's name; only with Kind Remote
}

// Reference is an image together with the way its signature is checked: an OstreeImageReference of
// ostree-ext.
type Reference struct {
	Signature Signature
	Image     Image
}

// Parse reads every form of OstreeImageReference:
//
//	ostree-image-signed:IMAGE               ostree-remote-image:REMOTE:IMAGE
//	ostree-unverified-image:IMAGE           ostree-remote-registry:REMOTE:NAME
//	ostree-unverified-registry:NAME
//
// with IMAGE as ParseImage reads it, and two plain forms that mean ostree-unverified-image: IMAGE,
// and HOST/NAME[:TAG] where HOST has a dot, a port, or is "localhost". Errors are sentences that
// say what to write instead.
func Parse(s string) (Reference, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case string(PolicyStrict), string(PolicyInsecureAllowed):
		return signed(Signature{Kind: SignatureKind(scheme)}, rest)
	case unverifiedRegistry:
		return signed(Signature{Kind: PolicyInsecureAllowed}, "registry:"+rest)
	case string(Remote), remoteRegistry:
		remote, image, found := strings.Cut(rest, ":")
		if !found || remote == "" {
			return Reference{}, fmt.Errorf("%q lacks the name of the OSTree remote or the image; write %s:REMOTE:docker://HOST/NAME[:TAG]", s, Remote)
		}
		if scheme == remoteRegistry {
			image = "registry:" + image
		}
		return signed(Signature{Kind: Remote, Remote: remote}, image)
	}
	if strings.HasPrefix(scheme, "ostree-") {
		return Reference{}, fmt.Errorf("%q has the unknown scheme %q; write %s, %s, %s, %s or %s", s, scheme,
			PolicyStrict, PolicyInsecureAllowed, unverifiedRegistry, Remote, remoteRegistry)
	}
	image, err := parsePlain(s)
	if err != nil {
		return Reference{}, err
	}
	return Reference{Signature: Signature{Kind: PolicyInsecureAllowed}, Image: image}, nil
}

func signed(signature Signature, image string) (Reference, error) {
	parsed, err := ParseImage(image)
	if err != nil {
		return Reference{}, err
	}
	if err := parsed.check(signature.Remote + ":" + image); err != nil {
		return Reference{}, err
	}
	return Reference{Signature: signature, Image: parsed}, nil
}

var registryHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// parsePlain reads what people type: an ImageReference or HOST/NAME.
func parsePlain(s string) (Image, error) {
	image, err := ParseImage(s)
	if err == nil {
		return image, nil
	}
	host, name, _ := strings.Cut(s, "/")
	switch {
	case name == "" || strings.HasPrefix(name, "/") || strings.HasPrefix(host, "docker:") || !registryHost.MatchString(host):
		return Image{}, err
	case host != "localhost" && !strings.ContainsAny(host, ".:"):
		return Image{}, fmt.Errorf("%q names no registry, and there is no default one; write for instance docker://docker.io/%s", s, s)
	}
	image = Image{Transport: TransportRegistry, Name: s}
	return image, image.check(s)
}

// String prints the reference so that Parse, and ostree-ext, read the same one back.
func (r Reference) String() string {
	switch {
	case r.Signature.Kind == Remote:
		return string(Remote) + ":" + r.Signature.Remote + ":" + r.Image.String()
	case r.Signature.Kind == PolicyInsecureAllowed && r.Image.Transport == TransportRegistry:
		return unverifiedRegistry + ":" + r.Image.Name
	}
	return string(r.Signature.Kind) + ":" + r.Image.String()
}
