package importer

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys as other programs know them.
const (
	cachedDigest   = "ostree-ext.cached.manifest-digest"
	cachedManifest = "ostree-ext.cached.manifest"
	cachedConfig   = "ostree-ext.cached.config"
)

// versions makes two images of which the second has another upper layer.
func versions(t testing.TB) (first, second *testImage) {
	t.Helper()
	lower := []string{"f usr/bin/shared " + incompressible(5000)}
	first = newImage(t, lower, []string{"f usr/bin/own 1"})
	second = newImage(t, lower, []string{"f usr/bin/own 2"})
	second.label(ocispec.AnnotationVersion, "1.3")
	return first, second.seal(t)
}

func (h *testHost) checkUpdate(req UpdateRequest) *Update {
	h.Helper()
	update, err := h.im.CheckUpdate(h.Context(), req)
	h.must(err)
	return update
}

// setDetached replaces the detached metadata of the commit that a ref names.
func (h *testHost) setDetached(ref string, detached objects.Dict) {
	h.Helper()
	commit, err := h.repo.Resolve(ref)
	h.must(err)
	st, err := h.repo.NewStaging()
	h.must(err)
	h.must(st.WriteDetached(commit, detached))
	h.must(st.SetRef(ref, commit))
	h.must(st.Land(h.Context()))
	h.must(st.Close())
}

// detached gives the keys of the detached metadata of a commit, sorted; "none" where it has no such
// object.
func (h *testHost) detached(commit string) string {
	h.Helper()
	detached, err := h.repo.Detached(mustChecksum(h, commit))
	if errors.Is(err, ostreerepo.ErrNoObject) {
		return "none"
	}
	h.must(err)
	return strings.Join(slices.Sorted(maps.Keys(detached)), " ")
}

// recordRef is the ref of the record of an image.
func (h *testHost) recordRef(name string) string {
	h.Helper()
	ref, err := h.im.storedRef(name)
	h.must(err)
	return reference.RecordRef(ref)
}

// updates gives the version of the recorded update per image, "-" for none.
func (h *testHost) updates() string {
	h.Helper()
	images, err := h.im.Images(h.Context())
	h.must(err)
	var list []string
	for _, image := range images {
		version := "-"
		if image.Update != nil {
			version = image.Update.Version
		}
		list = append(list, version)
	}
	return strings.Join(list, " ")
}

func TestCheckUpdate(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			first, second := versions(t)
			h := newHost(t, mode, newRegistry(testName, first))
			commit := h.mustPull(Request{Image: testName}).Commit
			nothing := toJSON(t, &Update{Stored: true, Reference: testName})
			for _, offline := range []bool{true, false, true} {
				if got := toJSON(t, h.checkUpdate(UpdateRequest{Image: testName, Offline: offline})); got != nothing {
					t.Errorf("nothing new: %s", got)
				}
			}
			refs := h.refs()
			h.registry.images[testName] = second
			h.registry.requested()

			want := toJSON(t, &Update{
				Stored: true, Available: true, Reference: testName, ManifestDigest: second.digest, Version: "1.3", Created: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
				LayersToFetch: 1, BytesToFetch: uint64(second.manifest.Layers[1].Size),
			})
			if got := toJSON(t, h.checkUpdate(UpdateRequest{Image: "ostree-unverified-registry:example.com/os:stable"})); got != want {
				t.Errorf("new: %s, want %s", got, want)
			}
			h.checkRecord(want)
			before, err := os.Stat(h.repo.Path() + "/refs/heads/" + h.recordRef(testName))
			h.must(err)
			h.checkUpdate(UpdateRequest{Image: testName})
			after, err := os.Stat(h.repo.Path() + "/refs/heads/" + h.recordRef(testName))
			if err != nil || !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
				t.Error("what is recorded was recorded again")
			}
			h.ostree("fsck")

			h.registry.images[testName] = first
			for _, offline := range []bool{false, true} {
				if got := toJSON(t, h.checkUpdate(UpdateRequest{Image: testName, Offline: offline})); got != nothing {
					t.Errorf("back at the first: %s", got)
				}
			}
			if got := h.detached(commit); got != "none" {
				t.Errorf("the image's commit has detached metadata: %s", got)
			}
			if n := h.registry.requested(); n > 0 {
				t.Errorf("%d layers were fetched", n)
			}
			h.checkClean(refs)
		})
	}
}

// checkRecord checks what is told of a newer image without asking the origin.
func (h *testHost) checkRecord(want string) {
	h.Helper()
	opened := len(h.registry.opened)
	images, err := h.im.Images(h.Context())
	h.must(err)
	image, err := h.im.Image(h.Context(), testName)
	h.must(err)
	for what, update := range map[string]*Update{
		"offline": h.checkUpdate(UpdateRequest{Image: testName, Offline: true}), "listed": images[0].Update, "shown": image.Update,
	} {
		if got := toJSON(h, update); got != want {
			h.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	if image.Broken != "" {
		h.Errorf("broken: %s", image.Broken)
	}
	if n := len(h.registry.opened) - opened; n != 0 {
		h.Errorf("the origin was asked %d times", n)
	}
}

func TestPrepareNotesUpdate(t *testing.T) {
	first, second := versions(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	h.registry.images["docker://example.com/other:1"] = first
	h.mustPull(Request{Image: testName})
	prepare := func(req Request) {
		t.Helper()
		p, err := h.im.Prepare(t.Context(), req)
		h.must(err)
		h.must(p.Close())
	}
	h.registry.images[testName] = second
	h.registry.images["docker://example.com/other:1"] = second
	for _, c := range []struct {
		name string
		req  Request
		want string
	}{
		{"under another name", Request{Image: testName, Target: "docker://example.com/target:1"}, "-"},
		{"from another name", Request{Image: "docker://example.com/other:1", Target: testName}, "-"},
		{"without a name", Request{Image: testName, NoRef: true}, "-"},
		{"not stored", Request{Image: "docker://example.com/other:1"}, "-"},
		{"itself", Request{Image: testName}, "1.3"},
	} {
		if prepare(c.req); h.updates() != c.want {
			t.Errorf("%s: %s, want %s", c.name, h.updates(), c.want)
		}
	}
	h.mustPull(Request{Image: testName})
	if got := h.updates(); got != "-" {
		t.Errorf("after the import: %s", got)
	}
}

// TestUpdateOfAnEarlierTime: the commit of an image that comes back may be there still, with what
// was newer at that time.
func TestUpdateOfAnEarlierTime(t *testing.T) {
	first, second := versions(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	commit := h.mustPull(Request{Image: testName}).Commit
	h.ostree("refs", "--create=ostree/0/1/0", commit) // deployed
	h.registry.images[testName] = second
	h.mustPull(Request{Image: testName})
	h.registry.images[testName] = first
	if res := h.mustPull(Request{Image: testName}); res.Commit != commit {
		t.Fatalf("the commit is %s, and was %s", res.Commit, commit)
	}
	if got := h.updates(); got != "-" {
		t.Errorf("an update to %s is recorded", got)
	}
}

// TestUpdateOfOneName: an image under two names is one commit, but what is new for one name is not
// for the other.
func TestUpdateOfOneName(t *testing.T) {
	first, second := versions(t)
	third := newImage(t, []string{"f usr/bin/own 3"})
	third.label(ocispec.AnnotationVersion, "1.4")
	third.seal(t)
	const one, two = "docker://example.com/os:1", "docker://example.com/os:2"
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(one, first))
	h.registry.images[two] = first
	if h.mustPull(Request{Image: one}).Commit != h.mustPull(Request{Image: two}).Commit {
		t.Fatal("one image has two commits")
	}
	for _, step := range []struct {
		check string
		now   *testImage
		want  string
	}{
		{one, second, "1.3 -"},
		{two, first, "1.3 -"},
		{two, second, "1.3 1.3"},
		{one, first, "- 1.3"},
		{one, third, "1.4 1.3"},
		{one, first, "- 1.3"},
		{two, first, "- -"},
	} {
		h.registry.images[step.check] = step.now
		h.checkUpdate(UpdateRequest{Image: step.check})
		if got := h.updates(); got != step.want {
			t.Errorf("after %+v: %s", step, got)
		}
	}
	h.registry.images[one] = second
	h.checkUpdate(UpdateRequest{Image: one})
	h.registry.images["docker://example.com/os:3"] = first
	h.mustPull(Request{Image: "docker://example.com/os:3"})
	if got := h.updates(); got != "1.3 - -" {
		t.Errorf("after an import under a third name: %s", got)
	}
}

func TestCheckUpdateErrors(t *testing.T) {
	first, _ := versions(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	commit := h.mustPull(Request{Image: testName}).Commit
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	damage := func() {
		object, err := h.repo.Commit(mustChecksum(t, commit))
		h.must(err)
		h.removeObject(object.Tree.String(), "dirtree")
	}
	for _, c := range []struct {
		name string
		make func()
		ctx  context.Context
		req  UpdateRequest
		want Kind
	}{
		{"no reference", nil, t.Context(), UpdateRequest{Image: "-"}, KindInvalidReference},
		{"not stored", nil, t.Context(), UpdateRequest{Image: "docker://example.com/none:1"}, KindNoSuchImage},
		{"not stored, and at no origin", nil, t.Context(), UpdateRequest{Image: "docker://example.com/none:1", NotStored: true}, KindReferenceNotFound},
		{"not stored, forget", nil, t.Context(), UpdateRequest{Image: "docker://example.com/none:1", NotStored: true, Forget: true}, KindNoSuchImage},
		{"not stored, nothing known", nil, t.Context(), UpdateRequest{Image: "docker://example.com/none:1", NotStored: true, Offline: true}, KindNoSuchImage},
		{"not stored, offline", nil, t.Context(), UpdateRequest{Image: "docker://example.com/none:1", Offline: true}, KindNoSuchImage},
		{"canceled", nil, canceled, UpdateRequest{Image: testName}, KindCanceled},
		{"gone from its origin", func() { delete(h.registry.images, testName) }, t.Context(), UpdateRequest{Image: testName}, KindReferenceNotFound},
		{"damaged", damage, t.Context(), UpdateRequest{Image: testName}, KindCorrupted},
		{"damaged, offline", nil, t.Context(), UpdateRequest{Image: testName, Offline: true}, KindCorrupted},
	} {
		if c.make != nil {
			c.make()
		}
		if _, err := h.im.CheckUpdate(c.ctx, c.req); KindOf(err) != c.want {
			t.Errorf("%s: %v, want the kind %s", c.name, err, c.want)
		}
	}
}

// TestUpdateOfAnImageThatIsNotStored: all that its origin has is news, less the layers that are
// here.
func TestUpdateOfAnImageThatIsNotStored(t *testing.T) {
	first, second := versions(t)
	const other = "docker://example.com/other:1"
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	h.registry.images[other] = second
	h.mustPull(Request{Image: testName})
	got := h.checkUpdate(UpdateRequest{Image: "ostree-unverified-registry:example.com/other:1", NotStored: true})
	want := Update{
		Available: true, Reference: other, ManifestDigest: second.digest, Version: "1.3",
		Created: got.Created, LayersToFetch: 1, BytesToFetch: got.BytesToFetch,
	}
	if *got != want || got.BytesToFetch == 0 {
		t.Errorf("%+v, want %+v", *got, want)
	}
	if stored := h.checkUpdate(UpdateRequest{Image: testName, NotStored: true}); !stored.Stored || stored.Available {
		t.Errorf("of a stored image %+v", stored)
	}
	if h.im.IsStored(other) || h.im.IsStored("foo:") || !h.im.IsStored(testName) {
		t.Error("IsStored is wrong")
	}
}

// TestUpdateOfAPinnedImage: a name with a digest never gets another image.
func TestUpdateOfAPinnedImage(t *testing.T) {
	first, second := versions(t)
	name := "docker://example.com/os@" + first.digest.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(name, first))
	h.mustPull(Request{Image: name})
	h.registry.images["docker://example.com/os:stable"] = second
	h.registry.opened = nil
	if update := h.checkUpdate(UpdateRequest{Image: name}); update.Available || len(h.registry.opened) != 0 {
		t.Errorf("%+v, opened %v", update, h.registry.opened)
	}
}
