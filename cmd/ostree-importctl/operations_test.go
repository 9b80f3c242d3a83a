package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

const layer = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"": 0, "1": 1, "2000": 2000, "3K": 3000, "4M": 4e6, "20G": 20e9, "5T": 5e12, "18446744T": 18446744e12,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "0G", "G", "-1", "1.5G", "1GB", "1 G", "18446745T", "1g"} {
		if got, err := parseSize(text); exitCode(err) != exitUsage {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}

func TestParseLabels(t *testing.T) {
	got, err := parseLabels([]string{"a=1", "b=x=y", "c="})
	if want := map[string]string{"a": "1", "b": "x=y", "c": ""}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, err := parseLabels(nil); err != nil || got != nil {
		t.Errorf("no labels: %v, %v", got, err)
	}
}

func TestAbsoluteDestination(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"oci:images:tag":    "oci:" + filepath.Join(here, "images") + ":tag",
		"oci:/images:tag":   "oci:/images:tag",
		"oci-archive:x.tar": "oci-archive:" + filepath.Join(here, "x.tar"),
		"tar:x.tar":         "tar:" + filepath.Join(here, "x.tar"),
		"squashfs:/srv/x":   "squashfs:/srv/x",
		"erofs:../x":        "erofs:" + filepath.Join(filepath.Dir(here), "x"),
		"docker://h/x:1":    "docker://h/x:1",
	} {
		if got, err := absoluteDestination(text); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestImageNames(t *testing.T) {
	images := []importer.Image{{Reference: "docker://a"}, {ImageRef: "broken"}, {Reference: "docker://b"}, {Reference: "docker://c\n"}}
	if got, want := imageNames(images, []string{"docker://b"}), []string{"docker://a", "docker://c "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// hostile is what must not reach a terminal as it is.
const hostile = "1\x1b]0;x\a\n2"

func TestOutputOfOperations(t *testing.T) {
	tests := []struct {
		name  string
		print func(io.Writer) error
		want  string
	}{
		{"remove", func(w io.Writer) error {
			return printRemoved(w, &importer.RemoveResult{
				Removed: []string{"docker://a"}, Missing: []string{hostile},
				Collected: &importer.PruneResult{Layers: 2, Objects: 1, Bytes: 5000},
			})
		}, `removed docker://a
not stored: 1 ]0;x  2
collected 2 layers and 1 object, 5.0 KB
`},
		{"remove without collection", func(w io.Writer) error {
			return printRemoved(w, &importer.RemoveResult{Removed: []string{"docker://a"}})
		}, "removed docker://a\n"},
		{"init", func(w io.Writer) error {
			return printInit(w, &importer.InitResult{Repository: "/ostree/repo", Mode: "bare", Created: true})
		}, "made /ostree/repo, a repository of mode bare\n"},
		{"init of what is there", func(w io.Writer) error {
			return printInit(w, &importer.InitResult{Repository: hostile, Mode: "archive"})
		}, "1 ]0;x  2 is a repository of mode archive already\n"},
		{"gc", func(w io.Writer) error {
			return printPruned(w, &importer.PruneResult{Images: 1, Layers: 1, Objects: 4, Bytes: 7, Refs: []importer.PrunedRef{
				{Name: "docker://a", Deleted: true, Reason: "older than the last 2"}, {Name: "docker://b", Reason: hostile},
				{Name: "sha256:1", Deleted: true, Reason: "no image needs it"},
			}})
		}, `STATE  NAME        REASON
drop   docker://a  older than the last 2
drop   sha256:1    no image needs it

dropped 1 image, 1 layer and 4 objects, 7 B
`},
		{"gc, dry run", func(w io.Writer) error {
			return printPruned(w, &importer.PruneResult{DryRun: true, Refs: []importer.PrunedRef{{Name: "docker://b", Reason: hostile}}})
		}, `STATE  NAME        REASON
keep   docker://b  1 ]0;x  2

would drop 0 layers and 0 objects, 0 B
`},
		{"gc, nothing there", func(w io.Writer) error { return printPruned(w, &importer.PruneResult{}) }, "dropped 0 layers and 0 objects, 0 B\n"},
		{"verify", func(w io.Writer) error {
			return printVerified(w, &importer.VerifyResult{
				Images: []importer.VerifiedImage{
					{Reference: "docker://a", Commit: strings.Repeat("c", 64), State: importer.StateGood},
					{Reference: "docker://b", State: importer.StateDamaged, Truncated: 3, Damage: []importer.Damage{
						{Layer: layer, LayerIndex: 2, Path: "usr/" + hostile, Object: strings.Repeat("d", 64) + ".file", Problem: "is missing"},
						{Problem: "the merge differs"},
					}},
					{Reference: "docker://c", State: importer.StateUnverified, Unverified: []importer.Unverified{
						{Reason: "it is " + hostile, VerifiedBy: "require-verified"},
						{Layer: layer, LayerIndex: 2, Reason: "nobody knows", VerifiedBy: "require-verified"},
					}},
				},
				Objects: 7, Bytes: 1200, LayersFetched: 1, BytesFetched: 2,
			})
		}, `IMAGE       COMMIT        STATE       FOUND
docker://a  cccccccccccc  good        
docker://b                damaged     5 problems
docker://c                unverified  2 parts not verified

docker://b
LAYER           PATH           OBJECT             PROBLEM
2 e3b0c44298fc  usr/1 ]0;x  2  dddddddddddd.file  is missing
image                                             the merge differs
and 3 more

docker://c
LAYER           NOT VERIFIED
image           it is 1 ]0;x  2
2 e3b0c44298fc  nobody knows
` + "`ostree-importctl pull --require-verified docker://c`" + ` fetches and verifies it

checked 7 objects, 1.2 KB; fetched 1 layer, 2 B
`},
		{"diff", func(w io.Writer) error {
			return printComparison(w, &importer.Comparison{
				From:  importer.ComparedImage{Reference: "docker://a", ManifestDigest: "sha256:1", Version: hostile},
				To:    importer.ComparedImage{Reference: "docker://a", ManifestDigest: "sha256:2"},
				Added: []importer.ComparedLayer{{Digest: layer, Size: 10, CreatedBy: hostile}}, BytesAdded: 10,
				Kept: make([]importer.ComparedLayer, 2), BytesKept: 20, BytesToFetch: 10,
				Files: []importer.FileChange{{Path: "usr/" + hostile, Change: "changed", What: "content, mode"}},
			}, true)
		}, `From:      docker://a 1 ]0;x  2 (sha256:1)
To:        docker://a (sha256:2)
Added:     1 layer, 10 B
Removed:   0 layers, 0 B
Kept:      2 layers, 20 B
To fetch:  10 B

LAYER         SIZE  CHANGE  CREATED BY
e3b0c44298fc  10 B  added   1 ]0;x  2

CHANGE   PATH           WHAT
changed  usr/1 ]0;x  2  content, mode
`},
		{"export", func(w io.Writer) error {
			_, err := io.WriteString(w, exportedText(&importer.ExportResult{Reference: "docker://a", Size: 5, ManifestDigest: "sha256:1", ConfigFile: "/x.json"}))
			return err
		}, "exported docker://a, 5 B, manifest sha256:1\nconfig: /x.json"},
		{"export of what is there", func(w io.Writer) error {
			_, err := io.WriteString(w, exportedText(&importer.ExportResult{Reference: "docker://a", Size: 5, ManifestDigest: "sha256:1", Cached: true}))
			return err
		}, "already there: docker://a, 5 B, manifest sha256:1"},
		{"encapsulate", func(w io.Writer) error {
			_, err := io.WriteString(w, encapsulatedText(&importer.EncapsulateResult{
				Commit: "c1", Destination: "oci:/x", ConfigDigest: "sha256:1", Chunking: "size", Layers: []importer.EncapsulatedLayer{{Size: 2}, {Size: 3}}, Note: hostile,
			}))
			return err
		}, "encapsulated c1 as oci:/x: 2 layers by size, 5 B, config sha256:1\nnote: 1 ]0;x  2"},
		{"unencapsulate", func(w io.Writer) error {
			_, err := io.WriteString(w, unencapsulatedText(&importer.UnencapsulateResult{
				Reference: "docker://a", ManifestDigest: "sha256:1", Ref: "os", Version: hostile, VerifyText: "good" + hostile, LayersFetched: 1, BytesFetched: 9,
			}))
			return err
		}, "unencapsulated docker://a: 9 B fetched in 1 layer, manifest sha256:1\nversion: 1 ]0;x  2\nref: os\nsignatures: good1 ]0;x  2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := test.print(&out); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want {
				t.Errorf("printed\n%s\nwant\n%s", out.String(), test.want)
			}
			if strings.ContainsFunc(strings.ReplaceAll(out.String(), "\n", ""), unicode.IsControl) {
				t.Error("control characters")
			}
		})
	}
}

func TestDamageEndsInFailure(t *testing.T) {
	images := func(states ...string) *importer.VerifyResult {
		var result importer.VerifyResult
		for _, state := range states {
			result.Images = append(result.Images, importer.VerifiedImage{State: state})
		}
		return &result
	}
	if err := damageError(images(importer.StateGood, importer.StateRepaired), true); err != nil {
		t.Errorf("nothing is damaged: %v", err)
	}
	for _, repaired := range []bool{false, true} {
		const want = "verify: 1 of 2 images could not be checked; the list says why"
		err := damageError(images(importer.StateGood, importer.StateUnchecked), repaired)
		if err == nil || err.Error() != want || exitCode(err) != exitUnchecked {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	for _, state := range []string{importer.StateUnverified, importer.StateRepaired} {
		unverified := images(importer.StateGood, state)
		unverified.Images[1].Unverified = []importer.Unverified{{Reason: "it is another program's"}}
		const want = "verify: 1 of 2 images not verified whole; the list says what verifies them"
		if err := damageError(unverified, false); err == nil || err.Error() != want || exitCode(err) != exitUnchecked {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if err := damageError(images(importer.StateUnchecked, importer.StateDamaged), false); exitCode(err) != exitFailed {
		t.Errorf("an image is damaged and another unchecked: %v", err)
	}
	for repaired, want := range map[bool]string{
		false: "verify: 1 of 2 images damaged; --repair fetches what is damaged again",
		true:  "verify: 1 of 2 images damaged; the list says what could not be repaired",
	} {
		err := damageError(images(importer.StateGood, importer.StateDamaged), repaired)
		if err == nil || err.Error() != want || exitCode(err) != exitFailed {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestRequestOfPull: every option has its field.
func TestRequestOfPull(t *testing.T) {
	o := requestOptions{
		accessOptions: accessOptions{authfile: "/a", anonymous: true, certDir: "/c", decryptionKeys: []string{"/k"}},
		fetchOptions:  fetchOptions{digest: string(layer), jobs: 3},
		target:        "docker://t", arch: "arm64", noRef: true, dropSpecialFiles: true, offline: true, bootable: true, skipGC: true, verified: true, foreign: true,
	}
	request, err := o.request("docker://x")
	want := importer.Request{
		Image: "docker://x", Target: "docker://t", NoRef: true, Digest: layer, Jobs: 3, DropSpecialFiles: true, Offline: true,
		RequireBootable: true, Architecture: "arm64", SkipGC: true, RequireVerified: true, ReuseForeign: true,
		Access: importer.Access{AuthFile: "/a", Anonymous: true, CertDir: "/c", SkipTLSVerify: true, DecryptionKeys: []string{"/k"}},
	}
	if err != nil || !equalJSON(request, want) {
		t.Errorf("%+v, %v, want %+v", request, err, want)
	}
}

func equalJSON(a, b any) bool {
	var one, other bytes.Buffer
	return errors.Join(printJSON(&one, a), printJSON(&other, b)) == nil && one.String() == other.String()
}
