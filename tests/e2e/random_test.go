package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// seedsVariable takes the seeds of random images to import: their number, or "first-last" for a
// range.
const seedsVariable = "IMPORTD_SEEDS"

// defaultSeeds is what a minute is enough for.
const defaultSeeds = 240

// Random images in repositories of all modes: the commit must be what the model says.
func TestRandomImages(t *testing.T) {
	first, last := seeds(t)
	for i, mode := range fixture.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			repo := fixture.NewRepo(t, mode)
			fixture.NoSync(t, repo)
			for seed := first; seed <= last; seed++ {
				if seed%uint64(len(fixture.Modes)) == uint64(i) {
					t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { importRandom(t, repo, seed) })
				}
			}
			fixture.Fsck(t, repo)
			if left := fixture.Leftovers(t, repo); len(left) > 0 {
				t.Errorf("imports left %q", left)
			}
		})
	}
}

func seeds(t *testing.T) (first, last uint64) {
	text := os.Getenv(seedsVariable)
	if text == "" {
		return 0, defaultSeeds - 1
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		from, to = "0", text
	}
	first, err := strconv.ParseUint(from, 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(to, 10, 64)
	}
	if err != nil || !isRange && last == 0 {
		t.Fatalf("%s is %q, want a number of seeds or first-last", seedsVariable, text)
	}
	if !isRange {
		last--
	}
	return first, last
}

func importRandom(t *testing.T, repo *ostreerepo.Repo, seed uint64) {
	img := ocimodel.Generate(seed, ocimodel.GenerateOptions{})
	want, err := ocimodel.Flatten(img, rulesOf(repo))
	if err != nil {
		t.Fatal(err)
	}
	commit, err := importInProcess(t, repo, buildRandom(t, img, seed), fmt.Sprintf("docker://random.invalid/image:%d", seed))
	if err != nil {
		t.Fatal(rerun(seed, err.Error(), img))
	}
	got, err := fixture.ReadCommit(repo, commit)
	if err != nil {
		t.Fatal(rerun(seed, err.Error(), img))
	}
	if diff := ocimodel.Diff(want, got); diff != "" {
		t.Error(rerun(seed, diff, img))
	}
	if seed%10 == 3 {
		compareCheckout(t, repo, commit, want)
	}
}

// importInProcess imports an image without proxy, bus and daemon, and gives the commit.
func importInProcess(t *testing.T, repo *ostreerepo.Repo, img *ociimage.Image, name string) (string, error) {
	t.Helper()
	im := importer.New(importer.Config{Repo: repo, Open: func(context.Context, reference.Image, importer.Access) (importer.Source, error) {
		return img.Source(), nil
	}})
	prepared, err := im.Prepare(t.Context(), importer.Request{Image: name})
	if err != nil {
		return "", err
	}
	result, err := prepared.Import(t.Context(), nil)
	if closing := prepared.Close(); closing != nil {
		t.Error(closing)
	}
	if err != nil {
		return "", err
	}
	return result.Commit, nil
}

// rerun puts the command that repeats a seed in front of what went wrong with it.
func rerun(seed uint64, problem string, img ocimodel.Image) string {
	return fmt.Sprintf("again: %s=%d-%d go test ./tests/e2e -run 'TestRandomImages'\n%s\n%s", seedsVariable, seed, seed, problem, img)
}

// buildRandom writes the image with each layer compressed in another way.
func buildRandom(t *testing.T, img ocimodel.Image, seed uint64) *ociimage.Image {
	t.Helper()
	ways := ociimage.Compressions()
	var spec ociimage.Spec
	for i, l := range img.Layers {
		archive, err := l.Tar()
		if err != nil {
			t.Fatal(err)
		}
		way := ways[(int(seed)+i)%len(ways)]
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: archive, Compression: way})
	}
	built, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// compareCheckout compares with what ostree itself makes of the commit. Owners and xattrs come out
// as they are where ostree runs as root.
func compareCheckout(t *testing.T, repo *ostreerepo.Repo, commit string, want map[string]ocimodel.Node) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "checkout", "--force-copy", commit, root)
	got, err := ocimodel.ReadDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := ocimodel.Diff(want, got); diff != "" {
		t.Errorf("the checkout is another tree:\n%s", diff)
	}
}

// The same through the commands and skopeo, for fewer seeds.
func TestRandomImagesThroughSkopeo(t *testing.T) {
	for i, mode := range fixture.Modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			repo := fixture.NewRepo(t, mode)
			for seed := uint64(i); seed < 12; seed += uint64(len(fixture.Modes)) {
				img := ocimodel.Generate(seed, ocimodel.GenerateOptions{})
				layout := t.TempDir()
				if err := buildRandom(t, img, seed).WriteLayout(layout, "random"); err != nil {
					t.Fatal(err)
				}
				result := pulled(t, fixture.Run(t, local(t, repo.Path(), "--json", "pull", "oci:"+layout+":random")))
				wantTree(t, repo, result.Commit, img.Layers...)
			}
			fixture.Fsck(t, repo)
		})
	}
}

// An image is one commit, whatever the mode of the repository that it is imported into.
func TestCommitsAreAlikeInAllModes(t *testing.T) {
	var repos []*ostreerepo.Repo
	for _, mode := range fixture.Modes {
		repos = append(repos, fixture.NewRepo(t, mode))
	}
	for seed := range uint64(6) {
		img := buildRandom(t, ocimodel.Generate(seed, ocimodel.GenerateOptions{}), seed)
		var first string
		for _, repo := range repos {
			commit, err := importInProcess(t, repo, img, fmt.Sprintf("docker://random.invalid/image:%d", seed))
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = commit
			}
			if commit != first {
				t.Errorf("seed %d: commit %s with mode %s, %s with mode %s", seed, commit, repo.Mode(), first, repos[0].Mode())
			}
		}
	}
}
