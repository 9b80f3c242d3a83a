package importer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
)

// TestEncapsulated: an image that holds a commit, in each encoding, with and without chunks, in
// each repository mode.
func TestEncapsulated(t *testing.T) {
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		for _, e := range encapsulated.Encodings() {
			for _, chunks := range []int{0, 1, 3} {
				t.Run(fmt.Sprintf("%s %s %d", mode, e, chunks), func(t *testing.T) {
					s := newSystem(t, plainSystem)
					image := systemImage(t, s.archives(e, chunks))
					h := newHost(t, mode, newRegistry(testName, image))
					res := h.mustPull(Request{Image: testName})

					base := s.commit.String()
					if res.BaseCommit == nil || *res.BaseCommit != base || res.Commit == base || len(res.Filtered) != 0 {
						t.Errorf("result %+v", res)
					}
					if got := strings.TrimSpace(h.ostree("rev-parse", image.ref(t, 0))); got != base {
						t.Errorf("the ref of the first layer names %s, want %s", got, base)
					}
					if got, want := h.ostree("ls", "-R", "-C", testRef), s.ostree("ls", "-R", "-C", "os"); got != want {
						t.Errorf("the merged tree is\n%s\nwant\n%s", got, want)
					}
					for i, l := range res.Layers {
						want := "ostree-chunk"
						if i == 0 {
							want = "ostree-commit"
						}
						if l.Kind != want || l.Cached {
							t.Errorf("layer %d: %+v", i, l)
						}
					}
					merged, err := h.repo.Commit(mustChecksum(t, res.Commit))
					h.must(err)
					if merged.Parent != s.commit || merged.Timestamp != 1767323045 || merged.Subject != "" {
						t.Errorf("merge commit %+v", merged)
					}
					h.checkClean(h.refs())
					if res := h.mustPull(Request{Image: testName}); !res.AlreadyPresent || *res.BaseCommit != base {
						t.Errorf("second import: %+v", res)
					}
				})
			}
		}
	}
}

// TestEncapsulatedIsDeterministic: the checksums are the same in each repository mode and for each
// number of chunks.
func TestEncapsulatedIsDeterministic(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(2, []string{"d etc 755", "f etc/passwd other", "f opt/x 1", "f usr/bin/.wh.ls"})
	var commits []string
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		h := newHost(t, mode, newRegistry(testName, image))
		commits = append(commits, h.mustPull(Request{Image: testName}).Commit)
	}
	if commits = slices.Compact(commits); len(commits) != 1 {
		t.Errorf("commits differ between repository modes: %q", commits)
	}
}

// TestTimestampOfTheBase: an image that doesn't say when it was made is as old as the commit in it.
func TestTimestampOfTheBase(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(0)
	delete(image.config, "created")
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t)))
	res := h.mustPull(Request{Image: testName})
	merged, err := h.repo.Commit(mustChecksum(t, res.Commit))
	h.must(err)
	if merged.Timestamp != systemTime {
		t.Errorf("timestamp %d, want %d", merged.Timestamp, systemTime)
	}
}

func TestLayersOnABase(t *testing.T) {
	const config = "d usr/lib/ostree 755"
	cases := []struct {
		name     string
		base     []string // on top of plainSystem
		layers   [][]string
		want     string // paths that the base doesn't have, or has no more with a "-"
		filtered string
		cat      map[string]string
	}{
		{
			name:   "files and whiteouts",
			layers: [][]string{{"f usr/bin/new 1", "f usr/bin/.wh.ls", "f etc/passwd changed", "f etc/.wh.group"}},
			want:   "+/usr/bin/new -/usr/bin/ls -/usr/etc/group", cat: map[string]string{"/usr/etc/passwd": "changed"},
		},
		{
			name: "an opaque directory, and a file for a directory", layers: [][]string{{"f usr/bin/.wh..wh..opq", "f usr/bin/only 1"}, {"f usr/lib 1"}},
			want: "+/usr/bin/only -/usr/bin/ls -/usr/bin/sh -/usr/lib/libc -/usr/lib/libc.so",
		},
		{
			name: "through the base's links", base: []string{config, "f usr/lib/ostree/prepare-root.conf [root]|transient=true"},
			layers: [][]string{{"f lib/more 1"}, {"f lib/.wh.libc"}}, want: "+/usr/lib/more -/usr/lib/libc",
		},
		{
			name:   "other top levels are left out",
			layers: [][]string{{"f opt/app/x 1", "f srv/y 1", "f run/secrets/z 1", "f usr/kept 1"}}, want: "+/usr/kept",
			filtered: `{"opt":1,"secrets":1,"srv":1}`,
		},
		{
			name: "a transient root keeps them", base: []string{config, "f usr/lib/ostree/prepare-root.conf [root]|transient=true"},
			layers: [][]string{{"f opt/app/x 1", "f run/secrets/z 1"}}, want: "+/opt +/opt/app +/opt/app/x", filtered: `{"secrets":1}`,
		},
		{
			name: "composefs keeps them", base: []string{config, "f usr/lib/ostree/prepare-root.conf [composefs]|enabled=signed"},
			layers: [][]string{{"f opt/x 1"}}, want: "+/opt +/opt/x",
		},
		{
			name: "composefs that is off does not", base: []string{config, "f usr/lib/ostree/prepare-root.conf [composefs]|enabled=no"},
			layers: [][]string{{"f opt/x 1"}}, filtered: `{"opt":1}`,
		},
		{name: "what container builds leave behind", layers: [][]string{{"f etc/hostname", "f etc/resolv.conf"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t, slices.Concat(plainSystem, c.base))
			image := s.image(2, c.layers...)
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			res := h.mustPull(Request{Image: testName})
			if got := difference(h.paths(s.commit.String()), h.paths(testRef)); got != c.want {
				t.Errorf("the layers change %q, want %q", got, c.want)
			}
			got := ""
			if filtered := res.Filtered[image.manifest.Layers[3].Digest]; filtered != nil {
				got = toJSON(t, filtered)
			}
			if got != c.filtered {
				t.Errorf("filtered %s, want %s", got, c.filtered)
			}
			for path, want := range c.cat {
				if got := h.ostree("cat", testRef, path); got != want {
					t.Errorf("%s holds %q, want %q", path, got, want)
				}
			}
			h.checkClean(h.refs())
			if res := h.mustPull(Request{Image: testName}); !res.AlreadyPresent {
				t.Error("the image is not complete")
			}
		})
	}
}

// difference gives the paths of b that a lacks, with a plus, and those of a that b lacks, with a
// minus.
func difference(a, b string) string {
	before, after := strings.Fields(a), strings.Fields(b)
	var lines []string
	for _, path := range after {
		if !slices.Contains(before, path) {
			lines = append(lines, "+"+path)
		}
	}
	for _, path := range before {
		if !slices.Contains(after, path) {
			lines = append(lines, "-"+path)
		}
	}
	return strings.Join(lines, " ")
}

// TestChunksAreShared: of a second version of a system only what has changed is fetched.
func TestChunksAreShared(t *testing.T) {
	s := newSystem(t, plainSystem)
	one := s.image(8, []string{"f usr/app 1"})
	s.commitLines(append(slices.Clone(plainSystem), "f usr/lib/libm more"))
	two := s.image(8, []string{"f usr/app 1"})
	registry := newRegistry(testName, one)
	registry.images["docker://example.com/os:next"] = two
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	h.mustPull(Request{Image: testName})
	h.registry.requested()

	p, err := h.im.Prepare(context.Background(), Request{Image: "docker://example.com/os:next"})
	h.must(err)
	plan := p.Plan()
	if plan.BaseCommit != "" || plan.Layers[0].Cached || !plan.Layers[9].Cached || plan.LayersToFetch == 0 || plan.LayersToFetch == len(plan.Layers) {
		t.Errorf("plan %+v", plan)
	}
	want := map[string]bool{}
	for _, l := range two.manifest.Layers {
		if !slices.ContainsFunc(one.manifest.Layers, func(o ocispec.Descriptor) bool { return o.Digest == l.Digest }) {
			want[l.Digest.String()] = true
		}
	}
	var samples []Progress
	res, err := p.Import(context.Background(), func(sample Progress) { samples = append(samples, sample) })
	h.must(err)
	h.must(p.Close())
	if n := h.registry.requested(); n != len(want) || n != plan.LayersToFetch {
		t.Errorf("%d layers were fetched, want %d and as planned %d", n, len(want), plan.LayersToFetch)
	}
	if *res.BaseCommit != s.commit.String() {
		t.Errorf("result %+v", res)
	}
	last := samples[len(samples)-1]
	if last.LayersDone != len(want) || last.LayersCached != last.LayersTotal-len(want) || last.Bytes != last.BytesTotal || last.Stage != StageCollect {
		t.Errorf("the last sample is %+v", last)
	}
	h.checkClean(h.refs())
}

// TestDamagedOnItsWay: whatever a layer's reader stumbles over first, a blob that was damaged on
// its way is fetched again.
func TestDamagedOnItsWay(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := systemImageOf(t, uncompressed(t, s.archives(encapsulated.Inline, 2)...), 2)
	for i, l := range image.manifest.Layers {
		for _, text := range []string{"the shell", "the library", "lists", "a system"} {
			at := bytes.Index(image.blobs[l.Digest], []byte(text))
			if at < 0 {
				continue
			}
			t.Run(fmt.Sprintf("layer %d, %s", i, text), func(t *testing.T) {
				h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
				h.registry.fault = func(_ context.Context, d digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error) {
					if d != l.Digest || nth > 1 {
						return blob, nil
					}
					damaged := bytes.Clone(image.blobs[d])
					damaged[at] ^= 1
					return io.NopCloser(bytes.NewReader(damaged)), nil
				}
				h.mustPull(Request{Image: testName})
				if n := h.registry.requested(); n != 4 {
					t.Errorf("%d layers were fetched, want 4", n)
				}
				h.checkClean(h.refs())
			})
		}
	}
}

// TestGuessedRules: as long as the base commit isn't here it is a guess that a stored layer can be
// used.
func TestGuessedRules(t *testing.T) {
	layer := []string{"f usr/app 1", "f opt/app 1"}
	transient := slices.Concat(plainSystem, []string{"d usr/lib/ostree 755", "f usr/lib/ostree/prepare-root.conf [root]|transient=true"})
	one, two := newSystem(t, transient).image(0, layer), newSystem(t, plainSystem).image(0, layer)
	const name = "docker://example.com/os:two"
	h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: map[string]*testImage{testName: one, name: two}})
	h.mustPull(Request{Image: testName})
	p, err := h.im.Prepare(context.Background(), Request{Image: name})
	h.must(err)
	if plan := p.Plan(); plan.LayersToFetch != 1 || !plan.Layers[1].Cached {
		t.Errorf("plan %+v", plan)
	}
	var last Progress
	res, err := p.Import(context.Background(), func(sample Progress) { last = sample })
	h.must(err)
	h.must(p.Close())
	if plan := p.Plan(); plan.LayersToFetch != 2 || res.Layers[1].Cached || toJSON(t, res.Filtered[res.Layers[1].Digest]) != `{"opt":1}` {
		t.Errorf("result %+v of plan %+v", res, plan)
	}
	if last.LayersDone != 2 || last.LayersCached != 0 || last.LayersTotal != 2 || last.Bytes != last.BytesTotal {
		t.Errorf("the last sample is %+v", last)
	}
	h.checkClean(h.refs())
}

// TestInterruptedBase: when a chunk can't be had, the ref of the commit's layer does not appear,
// but what has come stays.
func TestInterruptedBase(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(3, []string{"f usr/app 1"})
	h := newHost(t, ostreerepo.ModeBare, newRegistry(testName, image))
	// The smallest is fetched last.
	smallest := slices.MinFunc(image.manifest.Layers[1:4], func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Size, b.Size) })
	missing := smallest.Digest
	blob := image.blobs[missing]
	delete(image.blobs, missing)
	_, err := h.pull(Request{Image: testName, Jobs: 1})
	if KindOf(err) != KindManifestGone || !strings.Contains(err.Error(), "/5 sha256:"+missing.Encoded()[:12]) {
		t.Fatalf("error %v", err)
	}
	refs := h.refs()
	if strings.Contains(refs, image.ref(t, 0)) || strings.Contains(refs, "container/image") {
		t.Errorf("refs are %s", refs)
	}
	h.checkClean(refs)

	if landed := strings.Count(refs, "container/blob"); landed != 2 {
		t.Errorf("%d chunks have landed, want the 2 that came", landed)
	}
	h.registry.requested()
	image.blobs[missing] = blob
	res := h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 3 || *res.BaseCommit != s.commit.String() {
		t.Errorf("%d layers were fetched: %+v", n, res)
	}
	h.checkClean(h.refs())
}

// TestChunksThatCantLand: the failure of a landing is what is reported, and ends the import.
func TestChunksThatCantLand(t *testing.T) {
	image := newSystem(t, plainSystem).image(3)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	blobs := filepath.Join(h.repo.Path(), "refs/heads/ostree/container/blob")
	h.must(os.MkdirAll(filepath.Dir(blobs), 0o755))
	writeFile(t, blobs, nil)
	h.registry.fault = func(ctx context.Context, d digest.Digest, _ int, blob io.ReadCloser) (io.ReadCloser, error) {
		if d != image.manifest.Layers[3].Digest {
			return blob, nil
		}
		select { // does not end before the import does
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Minute):
			return nil, errors.New("the import goes on")
		}
	}
	_, err := h.pull(Request{Image: testName, Jobs: 4})
	h.registry.fault = nil
	if KindOf(err) != KindToolFailed || !strings.Contains(err.Error(), "land: ") {
		t.Errorf("error %v, want kind ToolFailed", err)
	}
	h.must(os.Remove(blobs))
	h.checkClean(h.refs())
	h.mustPull(Request{Image: testName})
	h.checkClean(h.refs())
}

// TestDamagedBase: what is missing of a base commit comes again with its layers.
func TestDamagedBase(t *testing.T) {
	file := func(h *testHost, s *system, path string) string {
		return strings.Fields(s.ostree("ls", "-C", "os", path))[4]
	}
	cases := []struct {
		name    string
		damage  func(h *testHost, s *system, image *testImage)
		fetched int
	}{
		{"a content object is gone", func(h *testHost, s *system, _ *testImage) { h.removeObject(file(h, s, "/usr/bin/sh"), "file") }, 4},
		{"a directory is gone", func(h *testHost, s *system, _ *testImage) {
			fields := strings.Fields(s.ostree("ls", "-d", "-C", "os", "/usr/bin"))
			h.removeObject(fields[4], "dirtree")
		}, 4},
		{"the commit's layer ref is gone", func(h *testHost, s *system, image *testImage) { h.ostree("refs", "--delete", image.ref(h, 0)) }, 1},
		{"its commit is gone", func(h *testHost, s *system, image *testImage) { h.removeObject(s.commit.String(), "commit") }, 1},
		{"the ref is gone, and a chunk's object", func(h *testHost, s *system, image *testImage) {
			h.ostree("refs", "--delete", image.ref(h, 0))
			h.removeObject(file(h, s, "/usr/bin/sh"), "file")
		}, 4},
		{"a chunk is gone", func(h *testHost, s *system, image *testImage) { h.ostree("refs", "--delete", image.ref(h, 2)) }, 1},
		{"a chunk is gone with its objects", func(h *testHost, s *system, image *testImage) {
			h.ostree("refs", "--delete", image.ref(h, 2))
			h.removeObject(file(h, s, "/usr/bin/sh"), "file")
			h.removeObject(file(h, s, "/usr/bin/ls"), "file")
			h.removeObject(file(h, s, "/usr/lib/libc"), "file")
		}, 5}, // once to find out that this brings nothing
		{"ostree knows what is missing", func(h *testHost, s *system, _ *testImage) {
			h.removeObject(file(h, s, "/usr/bin/sh"), "file")
			h.ostreeFails("fsck", "--delete")
		}, -1},
		{"everything but the objects", func(h *testHost, s *system, image *testImage) {
			for i := range 4 {
				h.ostree("refs", "--delete", image.ref(h, i))
			}
		}, 4},
	}
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser} {
		for _, c := range cases {
			t.Run(string(mode)+" "+c.name, func(t *testing.T) {
				s := newSystem(t, plainSystem)
				image := s.image(3)
				h := newHost(t, mode, newRegistry(testName, image))
				first := h.mustPull(Request{Image: testName})
				h.registry.requested()
				c.damage(h, s, image)
				h.ostree("refs", "--delete", testRef)
				res := h.mustPull(Request{Image: testName})
				if res.Commit != first.Commit || *res.BaseCommit != s.commit.String() {
					t.Errorf("result %+v, want the commit %s", res, first.Commit)
				}
				if n := h.registry.requested(); n != c.fetched && c.fetched >= 0 {
					t.Errorf("%d layers were fetched, want %d", n, c.fetched)
				}
				if got := strings.TrimSpace(h.ostree("rev-parse", image.ref(t, 0))); got != s.commit.String() {
					t.Errorf("the ref of the first layer names %s, want %s", got, s.commit)
				}
				h.checkClean(h.refs())
				if res := h.mustPull(Request{Image: testName}); !res.AlreadyPresent {
					t.Error("the image is not complete after the repair")
				}
			})
		}
	}
}

// TestStoredKind: one blob can be a layer of files in one image and a commit in another. What is
// stored as one is not taken for the other.
func TestStoredKind(t *testing.T) {
	s := newSystem(t, plainSystem)
	archives := s.archives(encapsulated.Inline, 1)
	asFiles := imageOf(t, archives...)
	asSystem := systemImage(t, archives)
	registry := newRegistry(testName, asFiles)
	registry.images["docker://example.com/os:system"] = asSystem
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	files := h.mustPull(Request{Image: testName})
	h.registry.requested()
	res := h.mustPull(Request{Image: "docker://example.com/os:system"})
	if n := h.registry.requested(); n != 2 || *res.BaseCommit != s.commit.String() {
		t.Errorf("%d layers were fetched for %+v", n, res)
	}
	if image, err := h.im.Image(context.Background(), testName); err != nil || !strings.Contains(image.Broken, "something else") {
		t.Errorf("the image whose layers were replaced: %+v, %v", image, err)
	}
	again := h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 2 || again.AlreadyPresent || again.Commit != files.Commit {
		t.Errorf("%d layers were fetched for %+v", n, again)
	}
	h.checkClean(h.refs())
}

// TestLayerReplacedMeanwhile: an import merges the layers that it has made, though another one has
// made something else of a blob since.
func TestLayerReplacedMeanwhile(t *testing.T) {
	shared := []string{"f usr/shared 1", "f opt/shared " + incompressible(4000)}
	plain, onBase := newImage(t, shared, []string{"f usr/last 1"}), newSystem(t, plainSystem).image(0, shared)
	const baseName = "docker://example.com/os:base"
	images := map[string]*testImage{testName: plain, baseName: onBase}
	want := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: images}).mustPull(Request{Image: testName})

	h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: images})
	h.registry.fault = func(_ context.Context, d digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error) {
		if d == plain.manifest.Layers[1].Digest && nth == 1 {
			if _, err := h.pull(Request{Image: baseName, SkipGC: true}); err != nil {
				return nil, err
			}
		}
		return blob, nil
	}
	res := h.mustPull(Request{Image: testName, Jobs: 1})
	if h.ostree("rev-parse", res.Layers[0].Ref) == res.Layers[0].Commit+"\n" {
		t.Fatal("the other import has not replaced the layer")
	}
	if res.Commit != want.Commit {
		t.Errorf("commit %s, want %s", res.Commit, want.Commit)
	}
	h.checkClean(h.refs())
}

func TestInventoryOfEncapsulated(t *testing.T) {
	s := newSystem(t, plainSystem)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, s.image(1, []string{"f usr/app 1"})))
	h.mustPull(Request{Image: testName})
	images, err := h.im.Images(context.Background())
	h.must(err)
	var kinds []string
	for _, l := range images[0].Layers {
		kinds = append(kinds, l.Kind)
	}
	if images[0].BaseCommit != s.commit.String() || images[0].Broken != "" || strings.Join(kinds, " ") != "ostree-commit ostree-chunk derived" {
		t.Errorf("image %+v", images[0])
	}
}

// TestBadBases: an image whose commit can't be used is refused, and leaves no ref of the commit's
// layer.
func TestBadBases(t *testing.T) {
	cases := []struct {
		name  string
		image func(t *testing.T) *testImage
		kind  Kind
		want  string
	}{
		{"no commit", func(t *testing.T) *testImage {
			return systemImage(t, [][]byte{archive(t, "f usr/x 1")})
		}, KindUnsupportedImage, "holds no OSTree commit"},
		{"a chunk is left out", func(t *testing.T) *testImage {
			s := newSystem(t, plainSystem)
			return systemImage(t, s.archives(encapsulated.Inline, 3)[:3])
		}, KindUnsupportedImage, "don't bring all objects of the commit in it: "},
		{"a file does not fit", func(t *testing.T) *testImage {
			s := newSystem(t, plainSystem)
			entries := encapsulated.CommitEntries(t, s.repo, s.commit, encapsulated.Inline)
			for i := range entries {
				if strings.HasSuffix(entries[i].Name, ".file") && string(entries[i].Content) == "lists" {
					entries[i].Content = []byte("other")
				}
			}
			return systemImage(t, [][]byte{encapsulated.Tar(t, entries)})
		}, KindDigestMismatch, ".file\": write file "},
		{"a layer's commit", func(t *testing.T) *testImage {
			return newSystem(t, plainSystem, "--add-metadata-string=ostree-importd.path-rules=1").image(0)
		}, KindUnsupportedImage, "by which importers store a layer"},
		{"a commit of some other use", func(t *testing.T) *testImage {
			return newSystem(t, plainSystem, "--add-metadata-string=ostree-importd.carries=1").image(0)
		}, KindUnsupportedImage, "by which importers store a layer"},
		{"a setting that means nothing", func(t *testing.T) *testImage {
			return newSystem(t, append(slices.Clone(plainSystem), "d usr/lib/ostree 755", "f usr/lib/ostree/prepare-root.conf [composefs]|enabled=perhaps")).image(0, []string{"f usr/x 1"})
		}, KindUnsupportedImage, "perhaps"},
		{"a blob is two things", func(t *testing.T) *testImage {
			s := newSystem(t, plainSystem)
			archives := s.archives(encapsulated.Inline, 1)
			image := imageOf(t, archives[0], archives[1], archives[0])
			return systemImageOf(t, image, 1)
		}, KindUnsupportedImage, "layers 1 and 3 are the same blob"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			image := c.image(t)
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			_, err := h.pull(Request{Image: testName})
			if err == nil || c.kind != "" && KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (kind %s), want kind %s: …%s…", err, KindOf(err), c.kind, c.want)
			}
			t.Log(err)
			if refs := h.refs(); strings.Contains(refs, "container/image") || strings.Contains(refs, image.ref(t, 0)) && c.want != "perhaps" {
				t.Errorf("refs are %s", refs)
			}
			h.checkClean(h.refs())
		})
	}
}

// systemImageOf makes the layer at the index the last one of the image's commit.
func systemImageOf(t testing.TB, image *testImage, last int) *testImage {
	image.label("ostree.final-diffid", image.config["rootfs"].(map[string]any)["diff_ids"].([]any)[last].(string))
	return image.seal(t)
}

// TestManyLayers: a manifest that is larger than what a D-Bus message or a pipe takes at once.
func TestManyLayers(t *testing.T) {
	lines := slices.Clone(plainSystem)
	for i := range 70 {
		lines = append(lines, fmt.Sprintf("f usr/lib/file%d content %d", i, i))
	}
	s := newSystem(t, lines)
	image := s.image(64, []string{"f usr/a 1"}, []string{"f usr/b 1"})
	for i := range image.manifest.Layers {
		image.manifest.Layers[i].Annotations = map[string]string{"ostree.components": incompressible(2500)}
	}
	image.seal(t)
	if len(image.rawManifest) < 128<<10 {
		t.Fatalf("the manifest has only %d bytes", len(image.rawManifest))
	}
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	res := h.mustPull(Request{Image: testName})
	if len(res.Layers) != 67 || *res.BaseCommit != s.commit.String() {
		t.Errorf("result %+v", res)
	}
	s2, err := stored.ReadImage(h.repo, mustChecksum(t, res.Commit))
	if err != nil || len(s2.Manifest.Layers) != 67 {
		t.Errorf("stored %v", err)
	}
	h.checkClean(h.refs())
}
