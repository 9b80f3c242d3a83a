package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// A commit comes out of an image as it went in, whatever the image is like, where it is, and what
// the repositories' modes are.
func TestEncapsulate(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	commit := commitSystem(t, s.repo, "1")
	work := t.TempDir()
	other := fixture.NewRepo(t, ostreerepo.ModeArchive)
	fixture.MustRun(t, "ostree", "--repo="+other.Path(), "pull-local", s.repo.Path(), commit)
	for i, test := range []struct {
		name, destination string
		args              []string
		layers            int
	}{
		{"registry", s.reference("gzip"), nil, systemLayers},
		{"layout", "oci:" + work + "/layout:1", []string{"--compression=zstd"}, systemLayers},
		{"archive", "oci-archive:" + work + "/archive", []string{"--compression=none", "--max-layers=3"}, 3},
		{"registry, one layer", s.reference("single"), []string{"--compression=zstd", "--single-layer"}, 1},
		{"layout, one layer", "oci:" + work + "/single:1", []string{"--compression=none", "--single-layer"}, 1},
		{"archive, one layer", "oci-archive:" + work + "/single-archive", []string{"--single-layer"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := s.encapsulate(t, test.destination, test.args...)
			if made.Commit != commit || len(made.Layers) != test.layers {
				t.Errorf("made of %s with %d layers, want %s and %d", made.Commit, len(made.Layers), commit, test.layers)
			}
			again := answer[importer.EncapsulateResult](t, fixture.Run(t, local(t, other.Path(), append(
				[]string{"--json", "encapsulate", commit, "oci:" + t.TempDir() + "/again"}, test.args...)...)))
			if again.ManifestDigest != made.ManifestDigest {
				t.Errorf("made from a repository of another mode the manifest is %s, not %s", again.ManifestDigest, made.ManifestDigest)
			}
			unencapsulate(t, fixture.Modes[i%3], test.destination, commit, made)
			pullEncapsulated(t, fixture.Modes[(i+1)%3], test.destination, commit, made)
		})
	}
}

func unencapsulate(t *testing.T, mode ostreerepo.Mode, image, commit string, made importer.EncapsulateResult) {
	t.Helper()
	repo := fixture.NewRepo(t, mode)
	got := answer[importer.UnencapsulateResult](t, fixture.Run(t, local(t, repo.Path(), "--json", "unencapsulate", "--tls-verify=false",
		"--ref=another/os", "--digest="+made.ManifestDigest.String(), image)))
	if got.Commit != commit || got.ManifestDigest != made.ManifestDigest || got.LayersFetched != len(made.Layers) || got.Version != "1" {
		t.Errorf("unencapsulated with mode %s: %+v", mode, got)
	}
	refs := fixture.Refs(t, repo)
	if refs != "heads/another/os "+commit+"\n" {
		t.Errorf("the refs are\n%s", refs)
	}
	fixture.Fsck(t, repo)
}

func pullEncapsulated(t *testing.T, mode ostreerepo.Mode, image, commit string, made importer.EncapsulateResult) {
	t.Helper()
	repo := fixture.NewRepo(t, mode)
	pull := func() importer.Result {
		t.Helper()
		return pulled(t, fixture.Run(t, local(t, repo.Path(), "--json", "pull", "--tls-verify=false", image)))
	}
	got := pull()
	if got.BaseCommit == nil || *got.BaseCommit != commit || got.ManifestDigest != made.ManifestDigest {
		t.Errorf("pulled with mode %s: %+v", mode, got)
	}
	if refs := fixture.Refs(t, repo); !strings.Contains(refs, got.ImageRef+" "+got.Commit+"\n") {
		t.Errorf("the refs are\n%s", refs)
	}
	list := func(commit string) string {
		return fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "ls", "-R", "-C", "-X", commit)
	}
	if got, want := list(got.Commit), list(commit); got != want {
		t.Errorf("the image's tree is\n%s\nthe commit's is\n%s", got, want)
	}
	fixture.Fsck(t, repo)
	if again := pull(); !again.AlreadyPresent || again.Commit != got.Commit {
		t.Errorf("the second pull does %+v", again)
	}
}

// The next version of a system is parted like the image that it follows, and shares with it what
// has not changed.
func TestEncapsulateAfterPrior(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	commitSystem(t, s.repo, "1")
	// The kernel has a layer; everything else is in one.
	first := s.encapsulate(t, s.reference("1"), "--max-layers=3")
	commitSystem(t, s.repo, "2")
	second := s.encapsulate(t, s.reference("2"), "--prior="+s.reference("1"))
	if len(first.Layers) != 3 || len(second.Layers) != 4 {
		t.Errorf("%d and %d layers, want 3, and those and the empty chunk", len(first.Layers), len(second.Layers))
	}

	host := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	fetch := func(tag string) map[digest.Digest]int {
		s.gateway.Fetched()
		answer[importer.UnencapsulateResult](t, fixture.Run(t, local(t, host.Path(), "--json", "unencapsulate", "--tls-verify=false",
			"--skip-gc", "--ref="+systemRef, s.reference(tag))))
		return s.gateway.Fetched()
	}
	fetch("1")
	fetched := fetch("2")
	shared := 0
	for _, l := range second.Layers {
		known := slices.ContainsFunc(first.Layers, func(of importer.EncapsulatedLayer) bool { return of.Digest == l.Digest })
		if known {
			shared++
		}
		if known != (fetched[l.Digest] == 0) {
			t.Errorf("%s: in the first image %t, fetched %d times", l.Name, known, fetched[l.Digest])
		}
	}
	if shared != 1 {
		t.Errorf("%d layers are shared, want that of the kernel only: %+v", shared, second.Layers)
	}
	fixture.Fsck(t, host)
}

// An import of an encapsulated commit that is killed keeps the chunks that it has, and nothing
// shows a commit that is not whole.
func TestKilledDaemonResumesEncapsulated(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	commit := commitSystem(t, s.repo, "1")
	made := s.encapsulate(t, s.reference("1"))
	host := newStageFor(t, s)
	last := made.Layers[len(made.Layers)-1].Digest
	hold := fixture.NewHold()
	t.Cleanup(hold.Release)
	s.gateway.Spoil(last, hold.Fault)
	s.gateway.Fetched()

	changes := fixture.RefChanges(t, host.repo, reference.BlobPrefix)
	if _, err := host.bus.Client(t).Import(t.Context(), request(s.reference("1")), daemon.JobOptions{}); err != nil {
		t.Fatal(err)
	}
	hold.Arrived(t)
	chunks := len(made.Layers) - 2 // all but the commit's layer and the one that is held
	for strings.Count(fixture.Refs(t, host.repo), reference.BlobPrefix) < chunks {
		fixture.Await(t, changes, "the chunks to land")
	}
	host.bus.KillDaemon(t)
	if refs := fixture.Refs(t, host.repo); strings.Contains(refs, reference.ImagePrefix) || strings.Contains(refs, made.Layers[0].Digest.Encoded()) {
		t.Errorf("after the crash the refs are\n%s", refs)
	}
	fixture.Fsck(t, host.repo)
	s.gateway.Spoil(last, nil)
	s.gateway.Fetched()

	result := pulled(t, fixture.Run(t, host.pull(t, s.reference("1"))))
	if result.BaseCommit == nil || *result.BaseCommit != commit {
		t.Errorf("the base commit is %v, want %s", result.BaseCommit, commit)
	}
	fetched := s.gateway.Fetched()
	for i, l := range made.Layers {
		want := 0
		if i == 0 || l.Digest == last {
			want = 1
		}
		if got := fetched[l.Digest]; got != want {
			t.Errorf("layer %d, %s, was fetched %d times after the crash, want %d", i+1, l.Name, got, want)
		}
	}
	if refs := fixture.Refs(t, host.repo); !strings.Contains(refs, made.Layers[0].Digest.Encoded()+" "+commit+"\n") {
		t.Errorf("the first layer's ref does not name the commit:\n%s", refs)
	}
	if left := fixture.Leftovers(t, host.repo); len(left) > 0 {
		t.Errorf("the crash left %q", left)
	}
	fixture.Fsck(t, host.repo)
}

// newStageFor is a stage with a repository and a bus of its own, but another's registry.
func newStageFor(t *testing.T, other *stage) *stage {
	t.Helper()
	s := &stage{registry: other.registry, gateway: other.gateway, repo: fixture.NewRepo(t, ostreerepo.ModeBareUser)}
	s.bus = fixture.StartBus(t, fixture.DaemonOptions{Repo: s.repo.Path()})
	return s
}
