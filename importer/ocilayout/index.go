package ocilayout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/document"
)

// index is an index.json. What this program doesn't know stays as it is.
type index struct {
	fields    map[string]json.RawMessage
	manifests []json.RawMessage
}

const manifestsField = "manifests"

// newIndex makes one that names no image.
func newIndex() *index {
	i := &index{fields: make(map[string]json.RawMessage)}
	empty := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if err := json.Unmarshal(mustMarshal(empty), &i.fields); err != nil {
		panic(err) // it was marshalled just now
	}
	return i
}

// readIndex reads the index of a layout; an empty one when there is none.
func readIndex(layout *dirfd.Dir) (*index, error) {
	raw, err := readSmall(layout, ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return newIndex(), nil
	}
	if err != nil {
		return nil, err
	}
	return parseIndex(raw)
}

func parseIndex(raw []byte) (*index, error) {
	var i index
	err := json.Unmarshal(raw, &i.fields)
	if err == nil && i.fields == nil {
		err = errors.New("it is null")
	}
	if list, ok := i.fields[manifestsField]; ok && err == nil {
		err = json.Unmarshal(list, &i.manifests)
	}
	for _, m := range i.manifests {
		if err == nil {
			_, err = tagOf(m)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; name another directory", ocispec.ImageIndexFile, err)
	}
	return &i, nil
}

// tagOf tells the tag of an entry, which is "" when it has none.
func tagOf(entry json.RawMessage) (string, error) {
	var d ocispec.Descriptor
	if err := json.Unmarshal(entry, &d); err != nil {
		return "", err
	}
	return d.Annotations[ocispec.AnnotationRefName], nil
}

// find gives the position of the first entry that has the tag, or -1.
func (i *index) find(tag string) int {
	return slices.IndexFunc(i.manifests, func(entry json.RawMessage) bool {
		has, err := tagOf(entry)
		return err == nil && has == tag
	})
}

// checkTag refuses an image without a tag in a layout that holds others: nobody could name it then.
func (i *index) checkTag(tag string) error {
	if tag == "" && (len(i.manifests) > 1 || len(i.manifests) == 1 && i.find("") < 0) {
		return errors.New("the layout holds other images; write oci:DIR:TAG, with a tag for this one")
	}
	return nil
}

// set has the tag name the image, in place of one that has it.
func (i *index) set(entry ocispec.Descriptor, tag string) error {
	raw := json.RawMessage(mustMarshal(entry))
	at := i.find(tag)
	if at < 0 {
		i.manifests = append(i.manifests, raw)
	} else {
		i.manifests[at] = raw
	}
	if size := len(i.marshal()); size > document.MaxSize {
		return fmt.Errorf("%s would have %d bytes, more than the %d that programs accept; name another directory", ocispec.ImageIndexFile, size, document.MaxSize)
	}
	return nil
}

func (i *index) marshal() []byte {
	i.fields[manifestsField] = mustMarshal(i.manifests)
	return mustMarshal(i.fields)
}

// layoutFile is the content of the file oci-layout.
func layoutFile() []byte {
	return mustMarshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

// mustMarshal is for values that always can be marshalled.
func mustMarshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// readSmall reads a document of a layout.
func readSmall(layout *dirfd.Dir, name string) ([]byte, error) {
	f, err := layout.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; name another directory", f.Name())
	}
	raw, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > document.MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes; name another directory", f.Name(), document.MaxSize)
	}
	return raw, nil
}
