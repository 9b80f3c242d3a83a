package proxyclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	// maxIndex bounds an index of a layout and a manifest in it, in bytes, as the proxy bounds
	// manifests.
	maxIndex = 4 << 20
	// maxIndexes bounds the indexes of a layout that are read to find one manifest.
	maxIndexes = 64
)

// The media types of manifests that are no OCI manifests, as containers/image has them.
const (
	mediaTypeDocker     = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// layout is an OCI layout that the proxy reads. The proxy does not compare the manifest that the
// layout's own index names with its digest, only one that another index names.
type layout struct {
	dir string
	tag string // "" for the only image
}

// layoutOf returns the layout that the proxy opens by a reference, nil if it opens none, or one
// that it has not unpacked. The proxy unpacks an archive in its temporary directory.
func (p *Proxy) layoutOf(ref string) *layout {
	transport, path, tag, _ := splitLocal(ref)
	l := &layout{tag: strings.TrimPrefix(tag, ":")}
	switch transport {
	case "oci":
		l.dir = path
		return l
	case "oci-archive":
		entries, err := os.ReadDir(p.launch.tmpdir)
		if err != nil {
			return nil
		}
		for _, entry := range entries {
			dir := filepath.Join(p.launch.tmpdir, entry.Name())
			if _, err := os.Lstat(filepath.Join(dir, ocispec.ImageIndexFile)); err == nil {
				l.dir = dir
				return l
			}
		}
	}
	return nil
}

// check compares a manifest that the proxy serves with the index of the layout. A manifest that the
// proxy has converted must be a Docker manifest there, with the same layers. A layout without an
// index is no reason to refuse an image that the proxy has opened.
func (l *layout) check(op string, m Manifest) error {
	desc, err := l.find(m.Digest)
	if errors.Is(err, fs.ErrNotExist) && m.isStored() {
		return nil
	}
	if err == nil && !m.isStored() {
		err = l.checkConverted(desc, m)
	}
	if err == nil {
		return nil
	}
	e := &Error{Class: ClassIntegrity, Op: op, Message: fmt.Sprintf("the layout: %v", err), Err: err}
	if errors.Is(err, errLayoutFile) {
		e.Class = ClassUnsupported
	}
	return e
}

// find returns the descriptor of a manifest in the image's part of the index, or in an index to
// which that leads.
func (l *layout) find(d digest.Digest) (ocispec.Descriptor, error) {
	raw, err := l.read(ocispec.ImageIndexFile)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	queue, err := l.named(raw)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	missing := fmt.Errorf("its index does not name the manifest %s that is stored there: the manifest or the index was changed", d)
	for n, indexes := 0, 0; n < len(queue); n++ {
		if queue[n].Digest == d {
			return queue[n], nil
		}
		if !isIndex(queue[n].MediaType) || indexes == maxIndexes {
			continue
		}
		indexes++
		nested, err := l.index(queue[n].Digest)
		switch {
		case err == nil:
			queue = append(queue, nested...)
		case !errors.Is(err, fs.ErrNotExist): // a layout need not have the images of other platforms
			missing = err
		}
	}
	return ocispec.Descriptor{}, missing
}

// named returns the entries of an index that the tag may stand for. The proxy takes "@" and a
// number for the place of an entry.
func (l *layout) named(raw []byte) ([]ocispec.Descriptor, error) {
	entries, err := parseIndex(raw)
	if l.tag == "" || strings.HasPrefix(l.tag, "@") {
		return entries, err
	}
	return slices.DeleteFunc(entries, func(d ocispec.Descriptor) bool {
		return d.Annotations[ocispec.AnnotationRefName] != l.tag
	}), err
}

// index reads an index that is a blob.
func (l *layout) index(d digest.Digest) ([]ocispec.Descriptor, error) {
	raw, err := l.blob(d)
	if err != nil {
		return nil, err
	}
	return parseIndex(raw)
}

// checkConverted compares the proxy's conversion of a manifest with what the layout holds.
func (l *layout) checkConverted(desc ocispec.Descriptor, m Manifest) error {
	raw, err := l.blob(desc.Digest)
	if err != nil {
		return err
	}
	var stored ocispec.Manifest
	if err := json.Unmarshal(raw, &stored); err != nil {
		return fmt.Errorf("the manifest %s is no JSON of one", desc.Digest)
	}
	if stored.MediaType != mediaTypeDocker {
		return fmt.Errorf("the proxy serves another manifest than %s", desc.Digest)
	}
	same := slices.EqualFunc(stored.Layers, m.Layers, func(a, b ocispec.Descriptor) bool {
		return a.Digest == b.Digest && a.Size == b.Size
	})
	if !same {
		return fmt.Errorf("the proxy's conversion of the Docker manifest %s has other layers", desc.Digest)
	}
	return nil
}

// hidden returns the media type of an entry that has the tag, but is none that the proxy finds by a
// tag, and whether it is the only entry; "" if there is none.
func (l *layout) hidden() (mediaType string, only bool) {
	raw, err := l.read(ocispec.ImageIndexFile)
	if err != nil || l.tag == "" {
		return "", false
	}
	all, err := parseIndex(raw)
	if err != nil {
		return "", false
	}
	for _, desc := range all {
		if desc.Annotations[ocispec.AnnotationRefName] == l.tag {
			return desc.MediaType, len(all) == 1
		}
	}
	return "", false
}

// explain says what is wrong with a tag that the proxy does not find in a layout, where that is
// known.
func (l *layout) explain(e *Error) *Error {
	switch e.Class {
	case ClassNotFound, ClassUnsupported, ClassOther: // by the release
	default:
		return e
	}
	kind, only := l.hidden()
	var what string
	switch kind {
	case mediaTypeDocker:
		what = "a Docker schema 2 manifest"
	case mediaTypeDockerList:
		what = "a Docker manifest list"
	case "", ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex:
		return e
	default:
		what = fmt.Sprintf("of the media type %q", printable(kind))
	}
	remedy := "write the layout again with `skopeo copy --format=oci`"
	if only && kind == mediaTypeDocker {
		remedy = fmt.Sprintf("name it without the tag, oci:%s, or %s", l.dir, remedy)
	}
	explained := *e
	explained.Class = ClassUnsupported
	explained.Message = fmt.Sprintf("the layout's entry %q is %s, which skopeo does not look for in a layout; %s",
		l.tag, what, remedy)
	return &explained
}

// blob reads a small blob and compares it with its digest.
func (l *layout) blob(d digest.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("the digest %q in an index: %w", printable(string(d)), err)
	}
	raw, err := l.read(filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()))
	if err == nil && d.Algorithm().FromBytes(raw) != d {
		err = fmt.Errorf("the blob %s does not have its digest", d)
	}
	return raw, err
}

// read reads a file of the layout. What is in one that is no JSON never becomes part of an error:
// the file may be a link to one that only we may read.
func (l *layout) read(name string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(l.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is %w: it is no regular file", name, errLayoutFile), err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err == nil && len(raw) > maxIndex {
		err = fmt.Errorf("%s is %w: it is larger than %d bytes", name, errLayoutFile, maxIndex)
	}
	return raw, err
}

// errLayoutFile says that a file of a layout is none that is read here.
var errLayoutFile = errors.New("no file that a layout has")

func parseIndex(raw []byte) ([]ocispec.Descriptor, error) {
	var index ocispec.Index
	if json.Unmarshal(raw, &index) != nil {
		return nil, errors.New("an index in it is no JSON of one")
	}
	return index.Manifests, nil
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == mediaTypeDockerList
}
