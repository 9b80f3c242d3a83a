package e2e

import (
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// What a registry and the network can do to a blob.
func TestRegistryFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault fixture.Fault
		kind  importer.Kind // "" when the pull succeeds after all
	}{
		{"one byte is another", fixture.FlipByte, importer.KindDigestMismatch},
		{"the body is short", fixture.Short, importer.KindDigestMismatch},
		{"one byte is another, once", fixture.Once(fixture.FlipByte), ""},
		{"the body is short, once", fixture.Once(fixture.Short), ""},
		{"a server error, once", fixture.Once(fixture.Unavailable), ""},
		{"the connection breaks off, once", fixture.Once(fixture.Cut), ""},
		{"server errors", fixture.Unavailable, importer.KindNetwork},
		{"the connection breaks off", fixture.Cut, importer.KindNetwork},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, fixture.DaemonOptions{})
			good, bad := files("good"), files("bad")
			_, first := s.push(t, "1", good)
			pulled(t, fixture.Run(t, s.pull(t, first)))
			before := fixture.Refs(t, s.repo)
			img, reference := s.push(t, "2", good, bad)
			s.gateway.Spoil(img.Layers[1].Digest, test.fault)

			out := fixture.Run(t, s.pull(t, reference))
			if test.kind == "" {
				wantTree(t, s.repo, pulled(t, out).Commit, good, bad)
				fixture.Fsck(t, s.repo)
				return
			}
			if out.Code != 1 || !strings.Contains(out.Stderr, "layer 2/2 sha256:") {
				t.Errorf("exits %d: %s", out.Code, out.Stderr)
			}
			if kind := lastJob(t, s).ErrorKind; kind != test.kind {
				t.Errorf("the error is %s, want %s: %s", kind, test.kind, out.Stderr)
			}
			wantUnchanged(t, s, before)
			// Nothing of the fault stays: the registry is well again, and so is the pull.
			s.gateway.Spoil(img.Layers[1].Digest, nil)
			wantTree(t, s.repo, pulled(t, fixture.Run(t, s.pull(t, reference))).Commit, good, bad)
		})
	}
}

// A registry that isn't there, an image that isn't there.
func TestNothingThere(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	for _, test := range []struct {
		name, reference string
		kind            importer.Kind
		code            int
	}{
		{"no such tag", s.reference("none"), importer.KindReferenceNotFound, 3},
		{"no such repository", strings.Replace(s.reference("1"), "/os:", "/none:", 1), importer.KindReferenceNotFound, 3},
		{"nobody listens", "docker://127.0.0.1:1/os:1", importer.KindNetwork, 1},
		{"no such layout", "oci:/nonexistent/layout:1", importer.KindReferenceNotFound, 3},
		{"not a reference", "docker:os", importer.KindInvalidReference, 2},
		{"a signature is asked for", "ostree-image-signed:" + s.reference("1"), importer.KindSignatureRejected, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := fixture.Refs(t, s.repo)
			out := fixture.Run(t, s.pull(t, test.reference))
			if out.Code != test.code {
				t.Errorf("exits %d, want %d: %s", out.Code, test.code, out.Stderr)
			}
			if kind := importError(t, s, test.reference); kind != test.kind {
				t.Errorf("the error is %s, want %s", kind, test.kind)
			}
			wantUnchanged(t, s, before)
		})
	}
}

// importError imports over the bus and gives the kind of the failure.
func importError(t *testing.T, s *stage, reference string) importer.Kind {
	t.Helper()
	client := s.bus.Client(t)
	id, err := client.Import(t.Context(), request(reference), daemon.JobOptions{})
	if err == nil {
		_, err = client.Wait(t.Context(), id, nil)
	}
	return importer.KindOf(err)
}
