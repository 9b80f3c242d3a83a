package ocilayout

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// FuzzIndex reads an index that somebody else wrote, sets a tag in it, and wants everything else as
// it was.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:a","size":1,"annotations":{"org.opencontainers.image.ref.name":"a"}}]}`), "a")
	f.Add([]byte(`{"manifests":[{},{"annotations":null},null]}`), "b")
	f.Add([]byte(`{"x":1e999,"manifests":null}`), "")
	f.Add([]byte(`null`), "")
	f.Fuzz(func(t *testing.T, raw []byte, tag string) {
		i, err := parseIndex(raw)
		if err != nil {
			return
		}
		before, others := len(i.manifests), i.find(tag) < 0
		entry := ocispec.Descriptor{MediaType: "m", Digest: digest.FromString("x"), Size: 1}
		if tag != "" {
			entry.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		}
		if i.set(entry, tag) != nil {
			return
		}
		again, err := parseIndex(i.marshal())
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		at := again.find(tag)
		if others {
			before++
		}
		if len(again.manifests) != before || at < 0 && json.Valid([]byte(tag)) {
			t.Errorf("%d entries instead of %d, the new one at %d", len(again.manifests), before, at)
		}
	})
}

// FuzzName wants names parted so that they can be put together again.
func FuzzName(f *testing.F) {
	f.Add("dir")
	f.Add("dir:tag")
	f.Add("a/b:c/d--e@f+g")
	f.Add(":")
	f.Fuzz(func(t *testing.T, name string) {
		path, tag, err := splitName(reference.Image{Transport: reference.TransportOCI, Name: name})
		if err != nil {
			return
		}
		if together := path + ":" + tag; tag != "" && together != name || tag == "" && path != name {
			t.Errorf("%q and %q", path, tag)
		}
	})
}
