package collect_test

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/collect"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// timeless is the metadata of an image that doesn't say when it was created.
func timeless(t *testing.T, layers ...string) objects.Dict {
	t.Helper()
	d := metadata(t, 1, layers...)
	manifest, _ := d[stored.MetaManifest].AsString()
	d[stored.MetaManifest] = objects.String(strings.ReplaceAll(manifest, ocispec.AnnotationCreated, "org.example.other"))
	return d
}

// TestYoungestImage has two images of one name, of which the policy keeps one. Reproducible builds
// all say the same time of creation.
func TestYoungestImage(t *testing.T) {
	const first, second = "docker://example.com/os:1", "docker://example.com/os:2"
	for _, test := range []struct {
		name     string
		store    func(s *store)
		imported []string // of equal times at first, then these one after the other
		kept     string
		because  string
	}{
		{"created later, imported earlier", func(s *store) {
			s.image(first, 2, "a")
			s.image(second, 1, "b")
		}, []string{first, second}, first, first + " was created later"},
		{"the first by name imported later", func(s *store) {
			s.image(first, 1, "a")
			s.image(second, 1, "b")
		}, []string{second, first}, first, first + " was created at the same time, and was imported later"},
		{"the second by name imported later", func(s *store) {
			s.image(first, 1, "a")
			s.image(second, 1, "b")
		}, []string{first, second}, second, second + " was created at the same time, and was imported later"},
		{"by name at last", func(s *store) {
			s.image(first, 1, "a")
			s.image(second, 1, "b")
		}, nil, first, first + " was created at the same time, was imported at the same time, and comes first by name"},
		{"one says no time of creation", func(s *store) {
			s.image(first, 1, "a")
			s.commit(imageRef(s.T, second), timeless(s.T, "b"))
		}, []string{first, second}, first, first + " says when it was created"},
		{"none says a time of creation", func(s *store) {
			s.commit(imageRef(s.T, first), timeless(s.T, "a"))
			s.commit(imageRef(s.T, second), timeless(s.T, "b"))
		}, []string{first, second}, second, second + " says no time of creation either, and was imported later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			test.store(s)
			s.written(test.imported...)
			for _, policy := range []collect.Policy{{Undeployed: true, KeepLast: 1}, {Undeployed: true, Quota: layerSize}} {
				decisions, err := collect.Decide(t.Context(), s.repo, policy)
				s.must(err)
				for _, d := range decisions {
					switch {
					case !d.Image:
					case d.Delete == (d.Name == test.kept):
						t.Errorf("%+v: %s: deleted %v because %s", policy, d.Name, d.Delete, d.Reason)
					case d.Delete && !strings.HasSuffix(d.Reason, test.because):
						t.Errorf("%+v: %s goes because %q, want the end %q", policy, d.Name, d.Reason, test.because)
					}
				}
			}
		})
	}
}
