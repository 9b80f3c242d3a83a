package e2e

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// The main path: registry, skopeo, daemon, bus, command, commit.
func TestPull(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	layers := ocimodel.Generate(12, ocimodel.GenerateOptions{}).Layers
	img, reference := s.push(t, "1", layers...)

	result := pulled(t, fixture.Run(t, s.pull(t, reference)))
	if result.ManifestDigest != img.ManifestDigest || result.AlreadyPresent || len(result.Layers) != len(layers) {
		t.Errorf("the result is %+v", result)
	}
	wantTree(t, s.repo, result.Commit, layers...)
	if refs := fixture.Refs(t, s.repo); !strings.Contains(refs, result.ImageRef) {
		t.Errorf("no ref %s among\n%s", result.ImageRef, refs)
	}
	fixture.Fsck(t, s.repo)

	s.gateway.Fetched()
	again := pulled(t, fixture.Run(t, s.pull(t, reference)))
	if !again.AlreadyPresent || again.Commit != result.Commit || again.BytesFetched != 0 {
		t.Errorf("the second pull's result is %+v", again)
	}
	fetched := s.gateway.Fetched()
	for _, l := range img.Layers {
		if fetched[l.Digest] > 0 {
			t.Errorf("the second pull asked for layer %s", l.Digest)
		}
	}
}

// A pull says whether it has changed anything: in its text, its JSON, and by its exit code for
// those who ask for that.
func TestPullTellsTheChange(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	spec := func(version string) ociimage.Spec {
		return ociimage.Spec{Labels: map[string]string{ocispec.AnnotationVersion: version}}
	}
	reference := s.reference("1")
	var before importer.Result
	for _, step := range []struct {
		version string
		code    int
		text    string
	}{
		{"1.0", 0, "imported %s 1.0, "},
		{"1.0", 77, "unchanged %s 1.0, "},
		{"2.0", 0, "imported %s 1.0 → 2.0, "},
		{"2.0", 77, "unchanged %s 2.0, "},
	} {
		s.registry.Push(t, build(t, spec(step.version), files("a"), files(step.version)), "os:1")
		out := fixture.Run(t, s.bus.Ctl(t, "pull", "--tls-verify=false", "--check-changed", reference))
		if want := fmt.Sprintf(step.text, reference); out.Code != step.code || !strings.Contains(out.Stderr, want) {
			t.Errorf("version %s: exit code %d, want %d, and %q in\n%s", step.version, out.Code, step.code, want, out.Stderr)
		}
		again := pulled(t, fixture.Run(t, s.pull(t, reference)))
		if again.Changed || again.From == nil || *again.From != again.To || again.To.Version != step.version || out.Stdout != again.Commit+"\n" {
			t.Errorf("version %s: the next pull's result is %+v; printed was %q", step.version, again, out.Stdout)
		}
		before = again
	}
	s.registry.Push(t, build(t, spec("3.0"), files("b")), "os:1")
	if next := pulled(t, fixture.Run(t, s.pull(t, reference))); !next.Changed || *next.From != before.To || next.To.Version != "3.0" {
		t.Errorf("the result of a change is %+v", next)
	}
}

// The merge commit says what other programs read in it, and is the same on every host.
func TestMergeCommit(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	img := build(t, ociimage.Spec{
		Created:     "2020-01-01T00:00:00Z",
		Annotations: map[string]string{ocispec.AnnotationCreated: "2021-02-03T04:05:06.7Z"},
		Labels:      map[string]string{ocispec.AnnotationVersion: "42"},
	}, files("a"))
	layout := t.TempDir()
	if err := img.WriteLayout(layout, "1"); err != nil {
		t.Fatal(err)
	}
	result := pulled(t, fixture.Run(t, local(t, repo.Path(), "--json", "pull", "oci:"+layout+":1")))
	checksum, err := objects.ParseChecksum(result.Commit)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.Commit(checksum)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC).Unix(); int64(commit.Timestamp) != want {
		t.Errorf("the timestamp is %d, want %d", commit.Timestamp, want)
	}
	if !commit.Parent.IsZero() || commit.Subject != "" || commit.Body != "" {
		t.Errorf("parent %s, subject %q, body %q; want none of them", commit.Parent, commit.Subject, commit.Body)
	}
	keys := slices.Sorted(maps.Keys(commit.Metadata))
	if want := []string{"ostree.container.image-config", "ostree.importer.version", "ostree.manifest", "ostree.manifest-digest"}; !slices.Equal(keys, want) {
		t.Errorf("the metadata keys are %q, want %q", keys, want)
	}
	if d, _ := commit.Metadata["ostree.manifest-digest"].AsString(); d != string(img.ManifestDigest) {
		t.Errorf("the manifest digest is %q, want %q", d, img.ManifestDigest)
	}
	for key, original := range map[string][]byte{"ostree.manifest": img.Manifest, "ostree.container.image-config": img.Config} {
		text, _ := commit.Metadata[key].AsString()
		if got, want := decode[map[string]any](t, text), decode[map[string]any](t, string(original)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	stored := decode[importer.Image](t, fixture.Run(t, local(t, repo.Path(), "--json", "show", "oci:"+layout+":1")).Stdout)
	if stored.Version != "42" || stored.Commit != result.Commit {
		t.Errorf("show says %+v", stored)
	}
}

// A later image that shares layers fetches the others only.
func TestPullFetchesOnlyNewLayers(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	base, more, other := files("base"), files("more"), files("other")
	_, first := s.push(t, "1", base, more)
	pulled(t, fixture.Run(t, s.pull(t, first)))
	s.gateway.Fetched()

	img, second := s.push(t, "2", base, more, other)
	result := pulled(t, fixture.Run(t, s.pull(t, second)))
	wantTree(t, s.repo, result.Commit, base, more, other)
	fetched := s.gateway.Fetched()
	for i, want := range []int{0, 0, 1} {
		if got := fetched[img.Layers[i].Digest]; got != want {
			t.Errorf("layer %d was fetched %d times, want %d", i+1, got, want)
		}
	}
}

// What is stored can be listed and looked at, by the commands and by the bus.
func TestListShowHistory(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	img, reference := s.push(t, "1", files("a"), files("b"))
	result := pulled(t, fixture.Run(t, s.pull(t, reference)))

	for _, verb := range [][]string{{"images"}, {"show", reference}, {"history", reference}} {
		out := fixture.Run(t, s.bus.Ctl(t, verb...))
		if out.Code != 0 || out.Stdout == "" {
			t.Errorf("%s exits %d and prints %q, %q", verb, out.Code, out.Stdout, out.Stderr)
		}
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "images")); !strings.Contains(out.Stdout, reference) {
		t.Errorf("images doesn't name %s:\n%s", reference, out.Stdout)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "history", reference)); !strings.Contains(out.Stdout, "made as layer 2") {
		t.Errorf("history doesn't say how layer 2 was made:\n%s", out.Stdout)
	}
	image, err := s.bus.Client(t).Image(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	if image.Commit != result.Commit || image.ManifestDigest != img.ManifestDigest || len(image.Layers) != 2 {
		t.Errorf("the stored image is %+v", image)
	}
	if out := fixture.Run(t, s.bus.Ctl(t, "show", "docker://other.invalid/os")); out.Code != 3 {
		t.Errorf("show of an unknown image exits %d, want 3: %s", out.Code, out.Stderr)
	}
}

// What was prepared is imported, whatever the tag has become.
func TestTagMovesBetweenPrepareAndImport(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	client := s.bus.Client(t)
	old, reference := s.push(t, "moving", files("old"))
	prepared, err := client.Prepare(t.Context(), request(reference), daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if prepared.Plan.ManifestDigest != old.ManifestDigest || prepared.Plan.LayersToFetch != 1 {
		t.Errorf("the plan is %+v", prepared.Plan)
	}
	s.push(t, "moving", files("new"))

	id, err := client.ImportPrepared(t.Context(), prepared.ID, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	status, err := client.Wait(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status.Import.ManifestDigest != old.ManifestDigest {
		t.Errorf("imported %s, prepared %s", status.Import.ManifestDigest, old.ManifestDigest)
	}
	wantTree(t, s.repo, status.Import.Commit, files("old"))
}

// A digest that is required and isn't there is refused before anything is fetched.
func TestPullOfAnotherDigest(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	other, _ := s.push(t, "other", files("other"))
	img, reference := s.push(t, "1", files("a"))
	s.gateway.Fetched()

	out := fixture.Run(t, s.pull(t, reference, "--digest="+string(other.ManifestDigest)))
	if out.Code != 4 {
		t.Errorf("exits %d, want 4: %s", out.Code, out.Stderr)
	}
	if s.gateway.Fetched()[img.Layers[0].Digest] > 0 {
		t.Error("a layer was fetched")
	}
	if kind := lastJob(t, s).ErrorKind; kind != importer.KindManifestMismatch {
		t.Errorf("the job's error is %s", kind)
	}
}

// lastJob gives the youngest job.
func lastJob(t *testing.T, s *stage) daemon.JobStatus {
	t.Helper()
	jobs, err := s.bus.Client(t).Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) == 0 {
		t.Fatal("there is no job")
	}
	last := jobs[0]
	for _, j := range jobs {
		if j.ID > last.ID {
			last = j
		}
	}
	return last
}
