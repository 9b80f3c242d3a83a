package daemon

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

const (
	digestA = digest.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	digestB = digest.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	digestC = digest.Digest("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc")
)

func TestImportText(t *testing.T) {
	version := func(text string, d digest.Digest, commit string) importer.ImageVersion {
		return importer.ImageVersion{Version: text, ManifestDigest: d, Commit: commit}
	}
	fetched := []importer.LayerResult{{Digest: digestA}, {Digest: digestB, Cached: true}, {Digest: digestB, Cached: true}}
	cached := []importer.LayerResult{{Digest: digestA, Cached: true}}
	old := version("1.0", digestA, "c1")
	tests := []struct {
		name, image string
		result      importer.Result
		want        string
	}{
		{"new", "docker://h/os:stable", importer.Result{ImageRef: "r", Changed: true, To: version("2.0", digestB, "c2"), Layers: fetched, BytesFetched: 42e6},
			"imported docker://h/os:stable 2.0, 42.0 MB fetched, 1 of 2 layers present"},
		{"new version", "docker://h/os:stable", importer.Result{ImageRef: "r", Changed: true, From: &old, To: version("2.0", digestB, "c2"), Layers: fetched, BytesFetched: 999},
			"imported docker://h/os:stable 1.0 → 2.0, 999 B fetched, 1 of 2 layers present"},
		{"same version", "n", importer.Result{ImageRef: "r", Changed: true, From: &old, To: version("1.0", digestB, "c2"), Layers: cached},
			"imported n sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb, 0 B fetched, 1 of 1 layer present"},
		{"one without a version", "n", importer.Result{ImageRef: "r", Changed: true, From: &old, To: version("", digestB, "c2"), Layers: cached},
			"imported n sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb, 0 B fetched, 1 of 1 layer present"},
		{"before it a damaged one", "n", importer.Result{ImageRef: "r", Changed: true, From: &importer.ImageVersion{Commit: "c1"}, To: version("1.0", digestB, "c2"), Layers: cached},
			"imported n 1.0, 0 B fetched, 1 of 1 layer present"},
		{"no versions, no name", "", importer.Result{ImageRef: "r", Changed: true, To: version("", digestB, "c2"), Layers: cached},
			"imported, 0 B fetched, 1 of 1 layer present"},
		{"unchanged", "n", importer.Result{ImageRef: "r", AlreadyPresent: true, From: &old, To: old, Layers: cached}, "unchanged n 1.0"},
		{"made again", "n", importer.Result{ImageRef: "r", From: &old, To: old, Layers: cached}, "unchanged n 1.0, 0 B fetched, 1 of 1 layer present"},
		{"a layer was missing", "n", importer.Result{ImageRef: "r", From: &old, To: old, Layers: fetched, BytesFetched: 1000},
			"completed n 1.0, 1.0 KB fetched, 1 of 2 layers present"},
		{"layers only", "n", importer.Result{Changed: true, To: version("1.0", digestA, ""), Layers: fetched, BytesFetched: 1000},
			"imported only the layers of n 1.0, 1.0 KB fetched, 1 of 2 layers present"},
		{"hostile texts", "n\nm", importer.Result{ImageRef: "r", Changed: true, To: version("1\x1b[2J\u009b", digestA, "c")},
			"imported n m 1 [2J , 0 B fetched, 0 of 0 layers present"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ImportText(&tt.result, tt.image); got != tt.want {
				t.Errorf("\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestPlanText(t *testing.T) {
	layers := []importer.LayerPlan{{Digest: digestA, Cached: true}, {Digest: digestB}, {Digest: digestA, Cached: true}}
	plan := importer.Plan{
		Version: "2.0", ManifestDigest: digestC, Layers: layers, LayersToFetch: 1, BytesToFetch: 42e6,
		PreviousDigest: digestB, PreviousVersion: "1.0", PreviousCommit: "c1",
	}
	if got, want := PlanText(&plan, "n"), "prepared n 1.0 → 2.0, 42.0 MB to fetch, 1 of 2 layers present"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	plan = importer.Plan{Version: "2.0", AlreadyPresent: true, ManifestDigest: digestB, PreviousDigest: digestB, PreviousVersion: "2.0", PreviousCommit: "c"}
	if got, want := PlanText(&plan, ""), "prepared 2.0, nothing new"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSizeText(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 KB", 999_949: "999.9 KB", 999_999: "1.0 MB", 1_550_000: "1.6 MB", 582_000_000: "582.0 MB",
		7_300_000_000: "7.3 GB", 18446744073709551615: "18.4 EB",
	} {
		if got := SizeText(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}
