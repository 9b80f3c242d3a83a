package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
	"github.com/ostree-importd/ostree-importd/tests/needs"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// modes are all repository modes.
var modes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

// export exports and fails the test if that does.
func (h *testHost) export(destination string) *ExportResult {
	h.Helper()
	res, err := h.im.Export(context.Background(), ExportRequest{Image: testName, Destination: destination}, nil)
	h.must(err)
	return res
}

// readLayout reads the only image of an OCI layout.
func readLayout(t testing.TB, dir string) *testImage {
	t.Helper()
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	blob := func(d digest.Digest) []byte {
		t.Helper()
		return read(filepath.Join("blobs", d.Algorithm().String(), d.Encoded()))
	}
	var index ocispec.Index
	if err := json.Unmarshal(read("index.json"), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index %+v: %v", index, err)
	}
	image := &testImage{digest: index.Manifests[0].Digest, blobs: map[digest.Digest][]byte{}}
	image.rawManifest = blob(image.digest)
	if err := json.Unmarshal(image.rawManifest, &image.manifest); err != nil {
		t.Fatal(err)
	}
	image.rawConfig = blob(image.manifest.Config.Digest)
	if err := json.Unmarshal(image.rawConfig, &image.config); err != nil {
		t.Fatal(err)
	}
	for _, l := range image.manifest.Layers {
		image.blobs[l.Digest] = blob(l.Digest)
	}
	return image
}

// root gives the checksums of the root directory of the image's commit.
func (h *testHost) root() [2]objects.Checksum {
	h.Helper()
	commit, err := h.repo.Resolve(testRef)
	h.must(err)
	c, err := h.repo.Commit(commit)
	h.must(err)
	return [2]objects.Checksum{c.Tree, c.Meta}
}

// treeDiff tells which paths the other host's commit has and h's doesn't, and the reverse.
func (h *testHost) treeDiff(other *testHost) string {
	h.Helper()
	was, is := strings.Split(h.ostree("ls", "-R", "-C", "-X", testRef), "\n"), strings.Split(other.ostree("ls", "-R", "-C", "-X", testRef), "\n")
	var diff []string
	for _, line := range was {
		if !slices.Contains(is, line) {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			diff = append(diff, "+ "+line)
		}
	}
	return strings.Join(diff, "\n")
}

// exportAndImport imports an image into repositories of some modes, exports it twice from each,
// checks that all exports are the same, and imports that into a repository of another mode. It
// returns the last host that has imported the original, and the one that has imported the export.
func exportAndImport(t *testing.T, image *testImage, from []ostreerepo.Mode, to ostreerepo.Mode) (before, after *testHost, exported *testImage) {
	t.Helper()
	var first digest.Digest
	for _, mode := range from {
		before = newHost(t, mode, newRegistry(testName, image))
		before.ostree("config", "set", "core.fsync", "false")
		before.mustPull(Request{Image: testName})
		for range 2 {
			dir := filepath.Join(t.TempDir(), "layout")
			res := before.export("oci:" + dir)
			exported = readLayout(t, dir)
			if first == "" {
				first = res.ManifestDigest
			}
			if res.ManifestDigest != first || exported.digest != first {
				t.Fatalf("an export from a repository of mode %s has manifest %s, another one %s", mode, res.ManifestDigest, first)
			}
		}
	}
	after = newHost(t, to, newRegistry(testName, exported))
	after.ostree("config", "set", "core.fsync", "false")
	after.mustPull(Request{Image: testName})
	return before, after, exported
}

// Random images come back as they were.
func TestExportRandomImages(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			model := ocimodel.Generate(seed, ocimodel.GenerateOptions{})
			var archives [][]byte
			for _, l := range model.Layers {
				raw, err := l.Tar()
				if err != nil {
					t.Fatal(err)
				}
				archives = append(archives, raw)
			}
			before, after, _ := exportAndImport(t, imageOf(t, archives...), []ostreerepo.Mode{modes[seed%3]}, modes[seed/3%3])
			if before.root() != after.root() {
				t.Errorf("%s\n%s", before.treeDiff(after), model)
			}
		})
	}
}

// Encapsulated commits come back with the same checksum, in each encoding.
func TestExportEncapsulated(t *testing.T) {
	derived := [][]string{{"f usr/bin/new 1", "f usr/bin/.wh.ls", "d etc 755", "f etc/passwd changed"}, {"f usr/lib/.wh..wh..opq", "f usr/lib/only 1"}}
	for _, e := range encapsulated.Encodings() {
		for _, chunks := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s %d", e, chunks), func(t *testing.T) {
				s := newSystem(t, plainSystem)
				image := systemImage(t, s.archives(e, chunks), derived...)
				before, after, exported := exportAndImport(t, image, modes, ostreerepo.ModeBareUser)
				if before.root() != after.root() {
					t.Error(before.treeDiff(after))
				}
				got, err := after.im.Image(context.Background(), testName)
				after.must(err)
				if got.BaseCommit != s.commit.String() {
					t.Errorf("the base commit is %q, want %s", got.BaseCommit, s.commit)
				}
				for _, entry := range exported.entries(t, 0) {
					if chunks > 0 && strings.Contains(entry, ".file ") {
						t.Errorf("the first layer has %s, which is in a chunk", entry)
					}
				}
				if len(exported.manifest.Layers) != len(image.manifest.Layers) {
					t.Errorf("%d layers, want %d", len(exported.manifest.Layers), len(image.manifest.Layers))
				}
				after.checkClean(after.refs())
			})
		}
	}
}

// The documents are those of the image, with what is different put right.
func TestExportedDocuments(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(2, []string{"f usr/bin/new 1"})
	image.config["x-unknown"] = map[string]any{"deep": []any{1.5, "text"}}
	image.config["history"] = []any{map[string]any{"created_by": "somebody"}}
	image.manifest.Annotations = map[string]string{"org.example.a": "1"}
	image.manifest.Layers[1].Annotations = map[string]string{
		"ostree.components": "a,b", "io.github.containers.zstd-chunked.manifest-checksum": "sha256:0", "containerd.io/snapshot/stargz/toc.digest": "sha256:0",
	}
	_, _, exported := exportAndImport(t, image.seal(t), modes[:1], ostreerepo.ModeBare)
	if got := exported.manifest.Annotations["org.example.a"]; got != "1" {
		t.Errorf("the annotations are %v", exported.manifest.Annotations)
	}
	if got := fmt.Sprint(exported.manifest.Layers[1].Annotations); got != "map[ostree.components:a,b]" {
		t.Errorf("the layer's annotations are %s", got)
	}
	diffIDs := exported.config["rootfs"].(map[string]any)["diff_ids"].([]any)
	if got := exported.config["config"].(map[string]any)["Labels"].(map[string]any)["ostree.final-diffid"]; got != diffIDs[2] {
		t.Errorf("the last layer of the base is %v, want %v", got, diffIDs[2])
	}
	for _, key := range []string{"x-unknown", "history", "created", "architecture"} {
		if got, want := toJSON(t, exported.config[key]), toJSON(t, image.config[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// Other programs take what is exported, with each compression and as an archive.
func TestExportedImageIsOne(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, []string{"d usr 755", "f usr/a 1"}, []string{"f usr/.wh.a", "f usr/b 2"})))
	h.mustPull(Request{Image: testName})
	dir := t.TempDir()
	for destination, compression := range map[string]string{
		"oci:" + dir + "/layout:a": "", "oci:" + dir + "/layout:b": "zstd", "oci:" + dir + "/layout:c": "none", "oci-archive:" + dir + "/archive": "gzip",
	} {
		res, err := h.im.Export(context.Background(), ExportRequest{Image: testName, Destination: destination, Compression: compression}, nil)
		h.must(err)
		out, err := exec.Command(needs.Tool(t, "skopeo"), "inspect", "--format={{.Digest}} {{.Architecture}}", destination).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != res.ManifestDigest.String()+" amd64" {
			t.Errorf("%s: skopeo says %q, %v, want %s", destination, out, err, res.ManifestDigest)
		}
	}
	unpacked := filepath.Join(dir, "unpacked")
	if out, err := exec.Command(needs.Tool(t, "umoci"), "raw", "unpack", "--image="+dir+"/layout:a", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v: %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(unpacked, "usr/b")); err != nil || string(b) != "2" {
		t.Errorf("usr/b: %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(unpacked, "usr/a")); !os.IsNotExist(err) {
		t.Errorf("usr/a: %v", err)
	}
}

// Labels of derived layers come from the policy of the base, and are made anew.
func TestExportLeavesLabelsOut(t *testing.T) {
	s := newSystem(t, slices.Concat(plainSystem, policyLines("usr/etc", "bin_t")))
	before, after, exported := exportAndImport(t, s.image(0, []string{"f usr/bin/new 1"}), modes[:1], ostreerepo.ModeBare)
	if before.root() != after.root() {
		t.Error(before.treeDiff(after))
	}
	before.checkLabels(before.layerRef(testName, 1), "usr/bin/new=bin_t")
	if got := exported.entries(t, 1); !slices.Equal(got, []string{"usr/bin/new 644 0"}) {
		t.Errorf("the layer has %q", got)
	}
}

func TestExportRoot(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
	pulled := h.mustPull(Request{Image: testName})
	file := filepath.Join(t.TempDir(), "root.tar")
	var last Progress
	res, err := h.im.Export(context.Background(), ExportRequest{Image: testName, Destination: "tar:" + file}, func(p Progress) { last = p })
	h.must(err)
	info, err := os.Stat(file)
	h.must(err)
	want := ExportResult{
		Destination: "tar:" + file, Reference: testName, Commit: pulled.Commit, ManifestDigest: pulled.ManifestDigest,
		ConfigFile: file + ".config.json", Size: uint64(info.Size()),
	}
	if toJSON(t, res) != toJSON(t, want) {
		t.Errorf("got  %s\nwant %s", toJSON(t, res), toJSON(t, want))
	}
	if last.Stage != StageExport || last.Steps != last.StepsTotal || last.Steps == 0 {
		t.Errorf("the last progress is %+v", last)
	}
	config, err := os.ReadFile(res.ConfigFile)
	h.must(err)
	if got, want := string(config), h.metadata(testRef, "ostree.container.image-config"); got != want {
		t.Errorf("config %s\nwant %s", got, want)
	}
	want.Cached = true
	if res := h.export("tar:" + file); toJSON(t, res) != toJSON(t, want) {
		t.Errorf("second export: %s", toJSON(t, res))
	}
}

func TestExportRefusals(t *testing.T) {
	readOnly := func(t *testing.T) string {
		dir := t.TempDir()
		if out, err := exec.Command(needs.Tool(t, "mount"), "-t", "tmpfs", "-o", "ro", "tmpfs", dir).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command(needs.Tool(t, "umount"), dir).Run() })
		return dir
	}
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, h *testHost, req *ExportRequest)
		kind    Kind
		says    string
	}{
		{"a destination of no kind", func(_ *testing.T, _ *testHost, r *ExportRequest) { r.Destination = "docker-daemon:x" }, KindInvalidReference, "tar:FILE"},
		{"a compression of no kind", func(_ *testing.T, _ *testHost, r *ExportRequest) { r.Compression = "lzma" }, KindInvalidOption, "lzma"},
		{"nothing to compress", func(_ *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination, r.Compression = "tar:/tmp/x", "gzip"
		}, KindInvalidOption, "no layers"},
		{"no image", func(_ *testing.T, _ *testHost, r *ExportRequest) { r.Image = "docker://example.com/none" }, KindNoSuchImage, "example.com/none"},
		{"a missing layer", func(_ *testing.T, h *testHost, _ *ExportRequest) {
			h.ostree("refs", "--delete", h.layerRef(testName, 1))
		}, KindCorrupted, "layer 2/2"},
		{"a layer that is something else", func(_ *testing.T, h *testHost, _ *ExportRequest) {
			h.ostree("refs", "--force", "--create="+h.layerRef(testName, 1), testRef)
		}, KindCorrupted, "layer 2/2"},
		{"a damaged object", func(_ *testing.T, h *testHost, _ *ExportRequest) {
			flip(h, h.objectAt(h.layerRef(testName, 0), "/usr/bin/app", objects.KindFile))
		}, KindCorrupted, "usr/bin/app"},
		{"in a repository", func(t *testing.T, h *testHost, r *ExportRequest) { r.Destination = "tar:" + h.repo.Path() + "/x" }, KindInvalidOption, "lies in an OSTree repository"},
		{"below a repository", func(t *testing.T, h *testHost, r *ExportRequest) {
			r.Destination = "oci-archive:" + h.repo.Path() + "/refs/heads/x"
		}, KindInvalidOption, "lies in an OSTree repository"},
		{"a foreign config", func(t *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination = "tar:" + foreignConfig(t) + "/x"
		}, KindInvalidOption, "x.config.json: the file beside the destination was not written by an export"},
		{"a user's link above a file", func(t *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination = "tar:" + foreignLink(t) + "/x"
		}, KindInvalidOption, "a symbolic link of another user"},
		{"a user's link above an archive", func(t *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination = "oci-archive:" + foreignLink(t) + "/x"
		}, KindInvalidOption, "a symbolic link of another user"},
		{"a user's link far above a layout", func(t *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination = "oci:" + foreignLink(t) + "/dir/x"
		}, KindInvalidOption, "a symbolic link of another user"},
		{"a user's link for a layout", func(t *testing.T, _ *testHost, r *ExportRequest) {
			r.Destination = "oci:" + foreignLink(t) + ":x"
		}, KindInvalidOption, "a symbolic link of another user"},
		{"a read-only file system", func(t *testing.T, _ *testHost, r *ExportRequest) { r.Destination = "tar:" + readOnly(t) + "/x" }, KindReadOnly, "ReadWritePaths="},
		{"a read-only file system for a layout", func(t *testing.T, _ *testHost, r *ExportRequest) { r.Destination = "oci:" + readOnly(t) + "/x" }, KindReadOnly, "ReadWritePaths="},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, []string{"f usr/bin/app content"}, []string{"f usr/b 1"})))
			h.mustPull(Request{Image: testName})
			dir := t.TempDir()
			req := ExportRequest{Image: testName, Destination: "oci:" + dir + "/layout"}
			test.prepare(t, h, &req)
			_, err := h.im.Export(context.Background(), req, nil)
			if KindOf(err) != test.kind || !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("%s: %v", KindOf(err), err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// foreignLink makes a symbolic link of a user to a directory of root's, and checks that nothing
// comes to be there.
func foreignLink(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	target, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	err := errors.Join(os.Mkdir(target+"/dir", 0o755), os.Symlink(target, link), os.Lchown(link, 1000, 1000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{target + "/dir", target} {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return link
}

// foreignConfig makes a directory with a file where a config would be, and checks that it stays.
func foreignConfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "x.config.json")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if content, err := os.ReadFile(file); err != nil || string(content) != "mine" {
			t.Errorf("the file holds %q, %v", content, err)
		}
	})
	return dir
}

func TestExportCanceled(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, []string{"f usr/a 1", "f usr/b 1"})))
	h.mustPull(Request{Image: testName})
	for _, destination := range []string{"oci:", "oci-archive:", "tar:"} {
		ctx, cancel := context.WithCancel(context.Background())
		dir := t.TempDir()
		_, err := h.im.Export(ctx, ExportRequest{Image: testName, Destination: destination + dir + "/x"}, func(Progress) { cancel() })
		if KindOf(err) != KindCanceled {
			t.Errorf("%s %v", destination, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
