package collect_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/collect"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// store is a repository that images are recorded in without their files.
type store struct {
	*testing.T
	repo    *ostreerepo.Repo
	staging *ostreerepo.Staging // what has still to land; nil for nothing
}

func newStore(t *testing.T) *store {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &store{T: t, repo: repo}
}

// layerSize is that of every layer.
const layerSize = 1000

func layerDigest(name string) digest.Digest { return digest.FromString(name) }

func layerRef(t *testing.T, name string) string {
	t.Helper()
	ref, err := reference.BlobRef(layerDigest(name))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// land lands what was recorded.
func (s *store) land() {
	s.Helper()
	if s.staging != nil {
		s.must(s.staging.Land(s.Context()))
		s.must(s.staging.Close())
		s.staging = nil
	}
}

// written makes the time at which each image's ref was written day 1 of a month, or, of the images
// named, a later one each.
func (s *store) written(later ...string) {
	s.Helper()
	s.land()
	refs, err := s.repo.Refs(reference.ImagePrefix)
	s.must(err)
	names := make([]string, 0, len(refs)+len(later))
	for _, ref := range refs {
		names = append(names, ref.Name)
	}
	for _, name := range later {
		names = append(names, imageRef(s.T, name))
	}
	for i, name := range names {
		at := time.Date(2026, 3, 1+max(0, i+1-len(refs)), 0, 0, 0, 0, time.UTC)
		s.must(os.Chtimes(filepath.Join(s.repo.Path(), "refs/heads", name), at, at))
	}
}

// commit records a commit with the metadata under a ref.
func (s *store) commit(ref string, metadata objects.Dict) objects.Checksum {
	s.Helper()
	return s.commitOn(objects.Checksum{}, ref, metadata)
}

// commitOn records a commit with a parent, unless that is zero.
func (s *store) commitOn(parent objects.Checksum, ref string, metadata objects.Dict) objects.Checksum {
	s.Helper()
	if s.staging == nil {
		st, err := s.repo.NewStaging()
		s.must(err)
		s.staging = st
	}
	st := s.staging
	tree, err := st.WriteDirTree(objects.DirTree{})
	s.must(err)
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: 0o040755})
	s.must(err)
	c, err := st.WriteCommit(objects.Commit{Metadata: metadata, Parent: parent, Tree: tree, Meta: meta})
	s.must(err)
	s.must(st.SetRef(ref, c))
	return c
}

func (s *store) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// layers records layers.
func (s *store) layers(names ...string) {
	s.Helper()
	for _, name := range names {
		s.commit(layerRef(s.T, name), objects.Dict{"name": objects.String(name)})
	}
}

func metadata(t *testing.T, day int, layers ...string) objects.Dict {
	t.Helper()
	m := ocispec.Manifest{Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config"), Size: 2}}
	m.SchemaVersion = 2
	m.Annotations = map[string]string{ocispec.AnnotationCreated: fmt.Sprintf("2026-01-%02dT00:00:00Z", day)}
	for _, name := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: layerDigest(name), Size: layerSize})
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return objects.Dict{
		stored.MetaManifest: objects.String(string(text)), stored.MetaManifestDigest: objects.String(digest.FromBytes(text).String()),
		stored.MetaConfig: objects.String("{}"),
	}
}

func imageRef(t *testing.T, name string) string {
	t.Helper()
	image, err := reference.ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.ImageRef(image)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// image records an image of a day.
func (s *store) image(name string, day int, layers ...string) objects.Checksum {
	s.Helper()
	return s.commit(imageRef(s.T, name), metadata(s.T, day, layers...))
}

// decide gives the decisions by name; layers go by the names that the tests give them.
func (s *store) decide(policy collect.Policy, layers ...string) map[string]collect.Decision {
	s.Helper()
	s.land()
	decisions, err := collect.Decide(s.Context(), s.repo, policy)
	s.must(err)
	byName := map[string]collect.Decision{}
	for _, d := range decisions {
		for _, name := range layers {
			if d.Name == layerDigest(name).String() {
				d.Name = name
			}
		}
		byName[d.Name] = d
	}
	return byName
}

// expect compares what is deleted and a part of each reason.
func expect(t *testing.T, got map[string]collect.Decision, want map[string]string) {
	t.Helper()
	for name, reason := range want {
		reason, remove := strings.CutPrefix(reason, "delete: ")
		d, ok := got[name]
		if !ok || d.Delete != remove || !strings.Contains(d.Reason, reason) {
			t.Errorf("%s: deleted %v because %q; want %v because %q", name, d.Delete, d.Reason, remove, reason)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d decisions, want %d: %v", len(got), len(want), got)
	}
}

func TestLayersAreKeptByWhatNeedsThem(t *testing.T) {
	s := newStore(t)
	s.layers("shared", "a", "deployed", "older", "base", "pinned", "client", "unneeded")
	s.image("docker://example.com/os:a", 1, "shared", "a")
	s.commit("ostree/0/1/0", metadata(t, 2, "shared", "deployed"))
	s.commit("ostree/1/1/0", metadata(t, 3, "older"))
	s.commit("ostree/0/1/1", objects.Dict{}) // an ordinary commit
	s.commit(reference.BaseImagePrefix+"/bootc/0", metadata(t, 4, "base"))
	s.commit(collect.PinPrefix+"/mine", metadata(t, 5, "pinned"))
	s.commit("rpmostree/base/0", metadata(t, 6, "client"))
	s.commit("another/branch", metadata(t, 7, "unneeded"))
	expect(t, s.decide(collect.Policy{}, "shared", "a", "deployed", "older", "base", "pinned", "client", "unneeded"), map[string]string{
		"docker://example.com/os:a": "it is stored",
		"shared":                    "needed by the image docker://example.com/os:a",
		"a":                         "needed by the image docker://example.com/os:a",
		"deployed":                  "needed by the deployment ostree/0/1/0",
		"older":                     "needed by the deployment ostree/1/1/0",
		"base":                      "needed by the base image ostree/container/baseimage/bootc/0",
		"pinned":                    "needed by the pin ostree/container/pin/mine",
		"client":                    "needed by the base commit rpmostree/base/0",
		"unneeded":                  "delete: no image or deployment needs it",
	})
}

func TestWhatCannotBeReadKeepsTheRest(t *testing.T) {
	for name, breakIt := range map[string]func(s *store, ref string, commit objects.Checksum){
		"ref without a checksum": func(s *store, ref string, _ objects.Checksum) {
			s.must(os.WriteFile(filepath.Join(s.repo.Path(), "refs/heads", ref), []byte("nothing\n"), 0o644))
		},
		"missing commit": func(s *store, _ string, commit objects.Checksum) {
			text := commit.String()
			s.must(os.Remove(filepath.Join(s.repo.Path(), "objects", text[:2], text[2:]+".commit")))
		},
		"no manifest": func(s *store, ref string, _ objects.Checksum) { s.commit(ref, objects.Dict{}) },
		"manifest that is none": func(s *store, ref string, _ objects.Checksum) {
			s.commit(ref, objects.Dict{stored.MetaManifest: objects.String("[]")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.layers("a", "b", "c")
			s.image("docker://example.com/good:1", 1, "a")
			commit := s.image("docker://example.com/bad:1", 1, "b")
			s.land()
			breakIt(s, imageRef(t, "docker://example.com/bad:1"), commit)
			expect(t, s.decide(collect.Policy{}, "a", "b", "c"), map[string]string{
				"docker://example.com/good:1": "it is stored",
				"docker://example.com/bad:1":  "it can't be read",
				"a":                           "needed by the image docker://example.com/good:1",
				"b":                           "it may belong to the image docker://example.com/bad:1",
				"c":                           "it may belong to the image docker://example.com/bad:1",
			})
		})
	}
}

func TestIncompleteImageStillNeedsItsLayers(t *testing.T) {
	s := newStore(t)
	s.layers("a", "b")
	commit := s.image("docker://example.com/os:1", 1, "a")
	s.land()
	s.must(os.WriteFile(filepath.Join(s.repo.Path(), "state", commit.String()+".commitpartial"), nil, 0o644))
	expect(t, s.decide(collect.Policy{}, "a", "b"), map[string]string{
		"docker://example.com/os:1": "it is stored",
		"a":                         "needed by",
		"b":                         "delete: no image",
	})
}

func TestStrangeRefs(t *testing.T) {
	s := newStore(t)
	s.commit(reference.BlobPrefix+"/by-hand", objects.Dict{})
	s.commit(reference.ImagePrefix+"/by.hand", metadata(t, 1, "a"))
	s.layers("a")
	expect(t, s.decide(collect.Policy{Undeployed: true, KeepLast: 1}, "a"), map[string]string{
		reference.BlobPrefix + "/by-hand":  "its name is not that of a layer",
		reference.ImagePrefix + "/by.hand": "among those",
		"a":                                "needed by the image " + reference.ImagePrefix + "/by.hand",
	})
}

func TestImagePolicy(t *testing.T) {
	const os, app = "docker://registry.example.com:5000/os", "docker://registry.example.com:5000/app"
	images := func(t *testing.T) *store {
		s := newStore(t)
		s.layers("base", "1", "2", "3", "app", "live")
		s.image(os+":1", 1, "base", "1")
		s.image(os+":2", 2, "base", "2")
		s.image(os+":3", 3, "base", "3")
		s.image(app+":latest", 1, "app")
		s.commit("ostree/0/1/0", metadata(t, 4, "live"))
		s.image(os+":live", 4, "live")
		s.written()
		return s
	}
	for _, c := range []struct {
		name   string
		policy collect.Policy
		want   string // what is deleted
	}{
		{"keep all", collect.Policy{}, ""},
		{"deployed ones only", collect.Policy{Undeployed: true}, os + ":1 " + os + ":2 " + os + ":3 " + app + ":latest 1 2 3 app base"},
		{"last of each name", collect.Policy{Undeployed: true, KeepLast: 1}, os + ":1 " + os + ":2 1 2"},
		{"last two of each name", collect.Policy{Undeployed: true, KeepLast: 2}, os + ":1 1"},
		{"quota that all fit in", collect.Policy{Undeployed: true, Quota: 5 * layerSize}, ""},
		{"quota for all but one", collect.Policy{Undeployed: true, Quota: 5*layerSize - 1}, os + ":1 1"},
		{"quota for the youngest", collect.Policy{Undeployed: true, Quota: 2 * layerSize}, os + ":1 " + os + ":2 " + app + ":latest 1 2 app"},
		{"quota for none", collect.Policy{Undeployed: true, Quota: 1}, os + ":1 " + os + ":2 " + os + ":3 " + app + ":latest 1 2 3 app base"},
		{"last and quota", collect.Policy{Undeployed: true, KeepLast: 2, Quota: 3 * layerSize}, os + ":1 " + app + ":latest 1 app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := images(t)
			deleted := map[string]bool{}
			for name, d := range s.decide(c.policy, "base", "1", "2", "3", "app", "live") {
				if d.Delete {
					deleted[name] = true
				}
			}
			for _, name := range strings.Fields(c.want) {
				if !deleted[name] {
					t.Errorf("%s is kept", name)
				}
				delete(deleted, name)
			}
			for name := range deleted {
				t.Errorf("%s is deleted", name)
			}
		})
	}
}

// record records something of an image.
func (s *store) record(r stored.Record) {
	s.Helper()
	c, err := stored.WriteRecord(s.staging, r)
	s.must(err)
	s.must(s.staging.SetRef(reference.RecordRef(r.ImageRef), c))
}

func TestRecordsStayWithTheirImages(t *testing.T) {
	s := newStore(t)
	s.layers("a")
	name := func(tag string) string { return "docker://example.com/os:" + tag }
	commits := map[string]objects.Checksum{}
	for day, tag := range []string{"kept", "dropped", "replaced", "silent"} {
		commits[tag] = s.image(name(tag), day+1, "a")
		s.commit("ostree/0/1/"+fmt.Sprint(day), metadata(t, day+1, "a"))
	}
	for _, tag := range []string{"kept", "dropped", "replaced", "silent", "gone"} {
		r := stored.Record{ImageRef: imageRef(t, name(tag)), Commit: commits[tag], SignatureText: "Good signature"}
		switch tag {
		case "replaced", "gone":
			r.Commit = objects.ChecksumOf(nil)
		case "silent":
			r.SignatureText = ""
		}
		s.record(r)
	}
	s.commit(reference.RecordPrefix+"/other", objects.Dict{})
	s.land()
	if err := s.repo.DeleteRefs(t.Context(), "ostree/0/1/1"); err != nil {
		t.Fatal(err)
	}
	decisions, err := collect.Decide(t.Context(), s.repo, collect.Policy{Undeployed: true})
	s.must(err)
	got := map[string]collect.Decision{}
	for _, d := range decisions {
		if d.Record {
			got[strings.TrimPrefix(d.Name, name(""))] = d
		}
	}
	expect(t, got, map[string]string{
		"kept":                            "it is about the image " + name("kept"),
		"dropped":                         "delete: the image that it is about is not stored any more",
		"replaced":                        "delete: the image that it is about is not stored any more",
		"gone":                            "delete: the image that it is about is not stored any more",
		"silent":                          "delete: it tells nothing about its image",
		reference.RecordPrefix + "/other": "delete: what it records of an image can't be read",
	})
}

// TestRecordsStayWithTheirLayers: what is recorded of a layer goes when the layer does, or when its
// ref names another commit.
func TestRecordsStayWithTheirLayers(t *testing.T) {
	s := newStore(t)
	s.image("docker://example.com/os:1", 1, "kept", "replaced")
	commits := map[string]objects.Checksum{"gone": objects.ChecksumOf(nil)}
	for _, name := range []string{"kept", "dropped", "replaced"} {
		commits[name] = s.commit(layerRef(t, name), objects.Dict{"name": objects.String(name)})
	}
	commits["replaced"] = objects.ChecksumOf(nil)
	refs := map[string]string{}
	for name, commit := range commits {
		ref := layerRef(t, name)
		c, err := stored.WriteLayerRecord(s.staging, stored.LayerRecord{LayerRef: ref, Commit: commit})
		s.must(err)
		s.must(s.staging.SetRef(reference.RecordRef(ref), c))
		refs[reference.RecordRef(ref)] = name
	}
	s.land()
	decisions, err := collect.Decide(t.Context(), s.repo, collect.Policy{})
	s.must(err)
	got := map[string]collect.Decision{}
	for _, d := range decisions {
		if d.Record {
			got[refs[d.Ref]] = d
		}
	}
	const gone = "delete: the layer that it is about is not stored any more"
	expect(t, got, map[string]string{
		"kept": "it is about the layer " + layerDigest("kept").String(), "dropped": gone, "replaced": gone, "gone": gone,
	})
}
