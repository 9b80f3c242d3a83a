package encapsulate_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestRoundTrip imports what was encapsulated, from and to every repository mode, and wants the
// same commit.
func TestRoundTrip(t *testing.T) {
	options := map[string]encapsulate.Options{
		"chunks, gzip": {},
		"single, zstd": {SingleLayer: true, Compression: ocilayout.Compression{Format: ocilayout.Zstd}},
		"two, none":    {MaxLayers: 2, Compression: ocilayout.Compression{Format: ocilayout.Uncompressed}},
	}
	tree := t.TempDir()
	makeFiles(t, tree, system())
	check(t, os.Mkdir(tree+"/var", 0o1777))
	for i, mode := range modes {
		repo := newRepo(t, mode)
		c := commitTree(t, repo, tree, "--add-metadata=ostree.bootable=true")
		for name, opts := range options {
			t.Run(string(mode)+", "+name, func(t *testing.T) {
				dir := t.TempDir() + "/layout"
				result := write(t, repo, c, dir, opts)
				if opts.MaxLayers > 0 && len(result.Layers) != opts.MaxLayers || opts.SingleLayer != (len(result.Layers) == 1) {
					t.Errorf("%d layers", len(result.Layers))
				}
				got, imported := unencapsulate(t, dir, result, modes[(i+1)%len(modes)])
				if imported != c {
					t.Errorf("commit %s instead of %s", imported, c)
				}
				if !bytes.Equal(detached(t, got, c), detached(t, repo, c)) {
					t.Error("the detached metadata differ")
				}
			})
		}
	}
}

// TestUnsorted makes sure that TestRoundTrip is about a commit whose bytes are not those that it
// would be written with anew.
func TestUnsorted(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"file": {content: "x"}})
	commit, err := repo.Commit(c)
	check(t, err)
	if objects.ChecksumOf(commit.Marshal()) == c {
		t.Error("the keys of the metadata are sorted")
	}
}

// TestSigned wants a signature to come through.
func TestSigned(t *testing.T) {
	home, err := os.MkdirTemp("", "gpg") // the path of a socket there must be short
	check(t, err)
	t.Cleanup(func() {
		run(t, "gpgconf", "--homedir", home, "--kill", "all")
		os.RemoveAll(home)
	})
	run(t, "gpg", "--homedir", home, "--batch", "--passphrase", "", "--quick-gen-key", "Test <test@example.com>", "ed25519", "sign", "never")
	repo, c := commitFiles(t, ostreerepo.ModeBareUser, system(), "--gpg-homedir="+home, "--gpg-sign=test@example.com")
	dir := t.TempDir() + "/layout"
	got, _ := unencapsulate(t, dir, write(t, repo, c, dir, encapsulate.Options{}), ostreerepo.ModeArchive)
	run(t, "gpg", "--homedir", home, "--batch", "--output", home+"/key", "--export")
	run(t, "ostree", "--repo="+got.Path(), "remote", "add", "--gpg-import="+home+"/key", "signer", "http://example.com")
	shown := run(t, "ostree", "--repo="+got.Path(), "show", "--gpg-verify-remote=signer", c.String())
	if !strings.Contains(shown, "Good signature") {
		t.Error(shown)
	}
}

// TestReproducible wants the same image from every repository mode.
func TestReproducible(t *testing.T) {
	tree := t.TempDir()
	makeFiles(t, tree, system())
	var want encapsulate.Result
	for i, mode := range slices.Concat(modes, modes[:1]) {
		repo := newRepo(t, mode)
		got := write(t, repo, commitTree(t, repo, tree), t.TempDir()+"/layout", encapsulate.Options{MaxLayers: 20})
		if i == 0 {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v instead of %v", mode, got, want)
		}
	}
}

// emptyChunk is the diffID that the labels of Fedora's images have: of an archive that ostree-ext
// makes of no contents.
const emptyChunk = "sha256:12787d84fa137cd5649a9005efe98ec9d05ea46245fdc50aecb7dd007f2035b1"

// TestFewLayers wants no empty chunk where there is no room for it.
func TestFewLayers(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"usr/lib/modules/1/vmlinuz": {content: "kernel"}, "usr/file": {content: "x"}})
	for n, want := range map[int][]string{
		1: nil, 2: {"/usr,kernel"}, 3: {"kernel", "/usr"}, 4: {"kernel", "/usr", ""}, 127: {"kernel", "/usr", ""},
	} {
		dir := t.TempDir() + "/layout"
		result := write(t, repo, c, dir, encapsulate.Options{MaxLayers: n})
		got := chunks(t, dir, result)
		if len(result.Layers) > n || !slices.Equal(got, want) || (n > 3) != (result.FinalDiffID == emptyChunk) {
			t.Errorf("at most %d layers: %q, want %q; the last is %s", n, got, want, result.FinalDiffID)
		}
		unencapsulate(t, dir, result, ostreerepo.ModeArchive)
	}
}

func TestDocuments(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"usr/lib/modules/1/vmlinuz": {content: "kernel"}, "usr/file": {content: "x"}},
		"--add-metadata=ostree.bootable=true", "--add-metadata-string=ostree.linux=6.1", "--add-metadata=ostree.container-cmd=['/usr/bin/bash', '-l']")
	dir := t.TempDir()
	result := write(t, repo, c, dir+"/a", encapsulate.Options{Labels: map[string]string{"own": "<&>", "ostree.linux": "other"}})
	m, config := documents(t, dir+"/a", result)
	labels := map[string]string{
		"ostree.commit": c.String(), "ostree.bootable": "true", "containers.bootc": "1", "ostree.linux": "other", "own": "<&>",
		"org.opencontainers.image.version": "41.1", "ostree.final-diffid": emptyChunk,
	}
	if !maps.Equal(config.Config.Labels, labels) || !maps.Equal(m.Annotations, labels) {
		t.Errorf("labels %v\nannotations %v", config.Config.Labels, m.Annotations)
	}
	created := time.Unix(1700000000, 0)
	if !config.Created.Equal(created) || !slices.Equal(config.Config.Cmd, []string{"/usr/bin/bash", "-l"}) ||
		config.Architecture != runtime.GOARCH || config.OS != "linux" || config.RootFS.Type != "layers" {
		t.Errorf("%+v", config)
	}
	for i, want := range []string{"Système", "kernel", "/usr", "no components"} {
		l := result.Layers[i]
		if h := config.History[i]; h.CreatedBy != want || !h.Created.Equal(created) || l.Name != want {
			t.Errorf("history %d: %v", i, h)
		}
		a, parted := m.Layers[i].Annotations["ostree.components"]
		if parted != (i > 0) || a != strings.Join(l.Components, ",") || (i == 1 || i == 2) && a != want {
			t.Errorf("layer %d: annotations %v", i, m.Layers[i].Annotations)
		}
		if m.Layers[i].Digest != l.Descriptor.Digest || m.Layers[i].MediaType != ocispec.MediaTypeImageLayerGzip || config.RootFS.DiffIDs[i] != l.DiffID {
			t.Errorf("layer %d: %v, %v", i, m.Layers[i], l)
		}
	}
	if l := result.Layers[3]; l.DiffID != emptyChunk || len(l.Components) > 0 || result.FinalDiffID != emptyChunk {
		t.Errorf("the last layer is %+v", l)
	}
	raw := string(readBlob(t, dir+"/a", result.ConfigDigest))
	if !strings.HasPrefix(raw, `{"architecture":"`) || !strings.Contains(raw, `"created":"2023-11-14T22:13:20Z"`) || !strings.Contains(raw, `"own":"<&>"`) {
		t.Error(raw)
	}
	if digest.FromString(raw) != m.Config.Digest {
		t.Errorf("config %s", m.Config.Digest)
	}

	opts := encapsulate.Options{Cmd: []string{}, Arch: "s390x", OS: "plan9", Created: time.Unix(1, 500_000_000), SingleLayer: true}
	result = write(t, repo, c, dir+"/b", opts)
	_, config = documents(t, dir+"/b", result)
	if config.Config.Cmd != nil || config.Architecture != "s390x" || config.OS != "plan9" || !config.Created.Equal(opts.Created) ||
		result.FinalDiffID != result.Layers[0].DiffID || config.Config.Labels["ostree.final-diffid"] != result.FinalDiffID.String() {
		t.Errorf("%+v", config)
	}
}

// TestPlainCommit is about a commit that says nothing of itself.
func TestPlainCommit(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir, map[string]node{"tree/file": {}})
	repo := newRepo(t, ostreerepo.ModeBareUser)
	out := run(t, "ostree", "commit", "--repo="+repo.Path(), "--branch=x", "--no-bindings", "--timestamp=@5", "--tree=dir="+dir+"/tree")
	c, err := objects.ParseChecksum(strings.TrimSpace(out))
	check(t, err)
	result := write(t, repo, c, dir+"/layout", encapsulate.Options{})
	_, config := documents(t, dir+"/layout", result)
	want := map[string]string{"ostree.commit": c.String(), "ostree.final-diffid": result.FinalDiffID.String()}
	if !maps.Equal(config.Config.Labels, want) || config.History[0].CreatedBy != "ostree export of commit "+c.String() {
		t.Errorf("%+v", config)
	}
	unencapsulate(t, dir+"/layout", result, ostreerepo.ModeBare)
}

// TestDetached is about detached metadata that are empty, as they are when a signature is deleted,
// and about damaged ones.
func TestDetached(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"file": {content: "x"}})
	dir := t.TempDir()
	path := filepath.Join(repo.Path(), "objects", c.String()[:2], c.String()[2:]+".commitmeta")
	check(t, os.WriteFile(path, nil, 0o644))
	got, _ := unencapsulate(t, dir+"/empty", write(t, repo, c, dir+"/empty", encapsulate.Options{}), ostreerepo.ModeArchive)
	if b := detached(t, got, c); len(b) != 0 {
		t.Errorf("%q", b)
	}
	check(t, os.WriteFile(path, []byte("damaged"), 0o644))
	if _, err := tryWrite(t.Context(), repo, c, dir+"/damaged", encapsulate.Options{}); !errors.Is(err, ostreerepo.ErrCorrupted) {
		t.Errorf("%v", err)
	}
}

// TestEmptyCommit has no content to part.
func TestEmptyCommit(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, nil)
	dir := t.TempDir() + "/layout"
	result := write(t, repo, c, dir, encapsulate.Options{})
	if len(result.Layers) != 1 || result.Chunking != encapsulate.ChunkingSingle {
		t.Errorf("%+v", result)
	}
	unencapsulate(t, dir, result, ostreerepo.ModeBareUser)
}

// TestProgress wants it to end at the totals.
func TestProgress(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeBare, system())
	w, err := ocilayout.New(layout(t.TempDir()+"/layout"), ocilayout.Options{})
	check(t, err)
	defer w.Close()
	var last encapsulate.Progress
	calls := 0
	result, err := encapsulate.Encapsulate(t.Context(), repo, c, w, encapsulate.Options{}, func(p encapsulate.Progress) {
		if p.Bytes < last.Bytes || p.Layers < last.Layers {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
		calls++
	})
	check(t, err)
	if last.Bytes != last.BytesTotal || last.Layers != len(result.Layers) || last.LayersTotal != len(result.Layers) || last.Bytes < 3_200_000 || calls < 80 {
		t.Errorf("%+v after %d calls", last, calls)
	}
}
