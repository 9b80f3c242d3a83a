package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// stage is a registry behind a gateway, a repository, and a bus that starts the daemon for it.
type stage struct {
	registry *fixture.Registry
	gateway  *fixture.Gateway
	repo     *ostreerepo.Repo
	bus      *fixture.Bus
}

func newStage(t *testing.T, options fixture.DaemonOptions) *stage {
	t.Helper()
	registry := fixture.StartRegistry(t)
	s := &stage{registry: registry, gateway: fixture.StartGateway(t, registry), repo: fixture.NewRepo(t, ostreerepo.ModeBareUser)}
	options.Repo = s.repo.Path()
	s.bus = fixture.StartBus(t, options)
	return s
}

// push puts an image of the given layers into the registry and gives the reference to pull it by.
func (s *stage) push(t *testing.T, tag string, layers ...ocimodel.Layer) (*ociimage.Image, string) {
	t.Helper()
	img := build(t, ociimage.Spec{}, layers...)
	s.registry.Push(t, img, "os:"+tag)
	return img, s.reference(tag)
}

func (s *stage) reference(tag string) string {
	return fmt.Sprintf("docker://%s/os:%s", s.gateway.Host, tag)
}

// pull makes the command that pulls a reference over plain HTTP.
func (s *stage) pull(t *testing.T, reference string, args ...string) *exec.Cmd {
	t.Helper()
	return s.bus.Ctl(t, append([]string{"pull", "--tls-verify=false", "--json", reference}, args...)...)
}

// request is the same for a client of the bus.
func request(reference string) importer.Request {
	return importer.Request{Image: reference, Access: importer.Access{SkipTLSVerify: true}}
}

// build builds an image of layers that are all gzipped.
func build(t *testing.T, spec ociimage.Spec, layers ...ocimodel.Layer) *ociimage.Image {
	t.Helper()
	for _, l := range layers {
		archive, err := l.Tar()
		if err != nil {
			t.Fatal(err)
		}
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: archive, Compression: ociimage.Gzip})
	}
	img, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// files makes a layer of usr with some files in it, each with content that differs from name to
// name.
func files(names ...string) ocimodel.Layer {
	l := ocimodel.Layer{Entries: []ocimodel.Entry{{Path: "usr", Type: ocimodel.Dir, Mode: 0o755}}}
	for _, name := range names {
		// Not to be compressed away: faults need a blob with a middle.
		var content strings.Builder
		for d := digest.FromString(name); content.Len() < 100_000; d = digest.FromString(d.String()) {
			content.WriteString(d.Encoded())
		}
		l.Entries = append(l.Entries, ocimodel.Entry{
			Path: "usr/" + name, Type: ocimodel.File, Mode: 0o644, Content: []byte(content.String()),
		})
	}
	return l
}

// pulled decodes what `pull --json` printed; a failed pull fails the test.
func pulled(t *testing.T, out fixture.Output) importer.Result {
	t.Helper()
	if out.Code != 0 {
		t.Fatalf("pull exits %d:\n%s", out.Code, out.Stderr)
	}
	return decode[importer.Result](t, out.Stdout)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("not the JSON that was expected: %v\n%s", err, text)
	}
	return value
}

// wantTree compares a commit with what the layers are.
func wantTree(t *testing.T, repo *ostreerepo.Repo, commit string, layers ...ocimodel.Layer) {
	t.Helper()
	want, err := ocimodel.Flatten(ocimodel.Image{Layers: layers}, rulesOf(repo))
	if err != nil {
		t.Fatal(err)
	}
	got, err := fixture.ReadCommit(repo, commit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := ocimodel.Diff(want, got); diff != "" {
		t.Errorf("the commit is another tree:\n%s", diff)
	}
}

// rulesOf gives the path rules that go with the repository's ostree.
func rulesOf(repo *ostreerepo.Repo) ocimodel.Rules {
	return ocimodel.Rules{FactoryVar: !repo.Version().AtLeast(2024, 3)}
}
