package importer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// family makes n images that share their first layer and have one of their own each.
func family(t testing.TB, n int) map[string]*testImage {
	t.Helper()
	images := map[string]*testImage{}
	for i := range n {
		images[fmt.Sprintf("docker://example.com/os:%d", i)] = newImage(t,
			[]string{"f usr/bin/shared " + incompressible(5000)}, []string{fmt.Sprintf("f usr/bin/own %d", i)})
	}
	return images
}

func (h *testHost) blobRefs() int {
	h.Helper()
	refs, err := h.repo.Refs(reference.BlobPrefix)
	h.must(err)
	return len(refs)
}

func TestPrune(t *testing.T) {
	registry := &testRegistry{images: family(t, 3)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	removed, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{"docker://example.com/os:0", "docker://example.com/none:1"}, SkipGC: true}, nil)
	h.must(err)
	if toJSON(t, removed) != `{"removed":["docker://example.com/os:0"],"missing":["docker://example.com/none:1"]}` {
		t.Errorf("removed %s", toJSON(t, removed))
	}
	refs := h.refs()
	foretold, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers, DryRun: true}, nil)
	h.must(err)
	if h.refs() != refs {
		t.Error("a dry run changes refs")
	}
	var stages []Stage
	done, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, func(p Progress) { stages = append(stages, p.Stage) })
	h.must(err)
	if !slices.Contains(stages, StageCollect) {
		t.Errorf("stages %v", stages)
	}
	foretold.DryRun = false
	if toJSON(t, foretold) != toJSON(t, done) {
		t.Errorf("foretold was\n%s\ndone\n%s", toJSON(t, foretold), toJSON(t, done))
	}
	// The layer and its tree, its directories and file, and the merge commit with its own.
	if done.Layers != 1 || done.Images != 0 || done.Objects < 8 || done.Bytes == 0 {
		t.Errorf("%+v", done)
	}
	h.ostree("fsck")
	if n := h.blobRefs(); n != 3 {
		t.Errorf("%d layers are left, want 3", n)
	}
	again, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, nil)
	h.must(err)
	if again.Layers != 0 || again.Objects != 0 || again.Bytes != 0 {
		t.Errorf("the second time %+v", again)
	}
	h.registry.requested()
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	if n := h.registry.requested(); n != 1 {
		t.Errorf("%d layers were fetched again, want 1", n)
	}
}

func TestPruneImages(t *testing.T) {
	registry := &testRegistry{images: family(t, 3)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	// A deployment uses one of them.
	h.ostree("refs", "--create=ostree/0/1/0", "ostree/container/image/docker_3A__2F__2F_example_2E_com/os_3A_1")
	done, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneImages}, nil)
	h.must(err)
	images, err := h.im.Images(t.Context())
	h.must(err)
	if done.Images != 2 || done.Layers != 2 || len(images) != 1 || images[0].Reference != "docker://example.com/os:1" || images[0].Broken != "" {
		t.Errorf("%+v, left are %+v", done, images)
	}
	for _, bad := range []PruneRequest{{}, {Scope: "all"}, {Scope: PruneLayers, KeepLast: 1}, {Scope: PruneLayers, Quota: 1}, {Scope: PruneImages, KeepLast: -1}} {
		if _, err := h.im.Prune(t.Context(), bad, nil); KindOf(err) != KindInvalidOption {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestRemove(t *testing.T) {
	registry := &testRegistry{images: family(t, 2)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	broken := reference.ImagePrefix + "/made.by.hand"
	writeFile(t, filepath.Join(h.repo.Path(), "refs/heads", broken), []byte("nothing"))
	res, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{"ostree-unverified-registry:example.com/os:0", broken}}, nil)
	h.must(err)
	if len(res.Removed) != 2 || len(res.Missing) != 0 || res.Collected == nil || res.Collected.Layers != 1 || res.Collected.Bytes == 0 {
		t.Errorf("%s", toJSON(t, res))
	}
	h.ostree("fsck")
	if again, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{"docker://example.com/os:0"}}, nil); err != nil || len(again.Missing) != 1 || len(again.Removed) != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	for image, kind := range map[string]Kind{"": KindInvalidReference, "nothing:x": KindInvalidReference} {
		if _, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{image}}, nil); KindOf(err) != kind {
			t.Errorf("%q: %v", image, err)
		}
	}
	if _, err := h.im.Remove(t.Context(), RemoveRequest{}, nil); KindOf(err) != KindInvalidOption {
		t.Errorf("nothing: %v", err)
	}
}

func TestPruneBesideDamage(t *testing.T) {
	registry := &testRegistry{images: family(t, 2)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	image, err := h.im.storedImage("docker://example.com/os:0")
	h.must(err)
	commit, err := h.repo.Commit(image.Commit)
	h.must(err)
	h.removeObject(commit.Tree.String(), "dirtree")
	_, err = h.im.Remove(t.Context(), RemoveRequest{Images: []string{"docker://example.com/os:1"}}, nil)
	if KindOf(err) != KindCorrupted || !strings.Contains(err.Error(), "os_3A_0") || !strings.Contains(err.Error(), "verify --repair") {
		t.Errorf("%v", err)
	}
	if _, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{"docker://example.com/os:0"}}, nil); err != nil {
		t.Error(err)
	}
	h.ostree("fsck")
	if h.blobRefs() != 0 {
		t.Error("layers are left")
	}
}

func TestImportCollects(t *testing.T) {
	images := family(t, 2)
	registry := newRegistry(testName, images["docker://example.com/os:0"])
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	h.mustPull(Request{Image: testName})
	registry.images[testName] = images["docker://example.com/os:1"]
	h.mustPull(Request{Image: testName, SkipGC: true})
	if n := h.blobRefs(); n != 3 {
		t.Errorf("%d layers without a collection, want 3", n)
	}
	h.must(os.RemoveAll(h.repo.Path() + "/refs/heads/" + testRef))
	h.mustPull(Request{Image: testName})
	if n := h.blobRefs(); n != 2 {
		t.Errorf("%d layers after a collection, want 2", n)
	}
	if g, err := h.repo.Garbage(t.Context(), nil); err != nil || g.Objects != 0 {
		t.Errorf("%+v objects are left that no ref reaches (%v)", g.Usage, err)
	}
	// Layers without an image would not survive a collection.
	registry.images[testName] = images["docker://example.com/os:0"]
	h.mustPull(Request{Image: testName, NoRef: true})
	if n := h.blobRefs(); n != 3 {
		t.Errorf("%d layers after an import without a ref, want 3", n)
	}
}

// TestCollectionsAndImportsAtOnce has many clients import, remove and collect. What an import has
// reported as stored, and nobody has removed, must be whole at the end.
func TestCollectionsAndImportsAtOnce(t *testing.T) {
	const clients, rounds = 50, 2
	registry := &testRegistry{images: family(t, 8)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	h.ostree("config", "set", "core.fsync", "false")
	repo, err := ostreerepo.Open(t.Context(), h.repo.Path(), ostreerepo.Options{})
	h.must(err)
	importers := []*Importer{h.im, New(Config{Repo: repo, Open: registry.Open})} // as two processes
	kept := map[string]bool{"docker://example.com/os:0": true, "docker://example.com/os:1": true}
	group, ctx := errgroup.WithContext(t.Context())
	for client := range clients {
		group.Go(func() error {
			im := importers[client%2]
			for round := range rounds {
				name := fmt.Sprintf("docker://example.com/os:%d", (client+round)%8)
				if err := act(ctx, im, name, client, kept[name]); err != nil {
					return fmt.Errorf("client %d with %s: %w", client, name, err)
				}
			}
			return nil
		})
	}
	h.must(group.Wait())
	for name := range kept {
		h.mustPull(Request{Image: name})
	}
	_, err = h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, nil)
	h.must(err)
	images, err := h.im.Images(t.Context())
	h.must(err)
	found := 0
	for _, image := range images {
		if image.Broken != "" {
			t.Errorf("%s: %s", image.Reference, image.Broken)
		}
		if kept[image.Reference] {
			found++
		}
	}
	if found != len(kept) {
		t.Errorf("%d of %d images are left that nobody removed", found, len(kept))
	}
	h.checkClean(h.refs())
}

// act is what one client does with an image.
func act(ctx context.Context, im *Importer, name string, client int, kept bool) error {
	switch {
	case client%5 == 3:
		_, err := im.Prune(ctx, PruneRequest{Scope: PruneLayers}, nil)
		return err
	case client%5 == 4 && !kept:
		_, err := im.Remove(ctx, RemoveRequest{Images: []string{name}}, nil)
		return err
	}
	p, err := im.Prepare(ctx, Request{Image: name})
	if err != nil {
		return err
	}
	_, err = p.Import(ctx, nil)
	return errors.Join(err, p.Close())
}

// TestKeepLastOfEqualAge has reproducible builds, which all say the same time of creation: the
// image that was imported last is kept, also when it is an older one again, and an import that
// finds nothing new makes none younger.
func TestKeepLastOfEqualAge(t *testing.T) {
	registry := &testRegistry{images: family(t, 3)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for _, tag := range []int{1, 2, 0, 1} {
		h.mustPull(Request{Image: fmt.Sprintf("docker://example.com/os:%d", tag)})
	}
	foretold, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneImages, KeepLast: 1, DryRun: true}, nil)
	h.must(err)
	for _, ref := range foretold.Refs {
		if strings.HasPrefix(ref.Ref, reference.ImagePrefix) && ref.Deleted && !strings.HasSuffix(ref.Reason, "and was imported later") {
			t.Errorf("%+v", ref)
		}
	}
	done, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneImages, KeepLast: 1}, nil)
	h.must(err)
	images, err := h.im.Images(t.Context())
	h.must(err)
	if done.Images != 2 || len(images) != 1 || images[0].Reference != "docker://example.com/os:0" {
		t.Errorf("%d images went, left are %+v", done.Images, images)
	}
}

func TestRemoveOfAnImageInUse(t *testing.T) {
	registry := &testRegistry{images: family(t, 2)}
	h := newHost(t, ostreerepo.ModeBareUser, registry)
	for name := range registry.images {
		h.mustPull(Request{Image: name})
	}
	h.ostree("refs", "--create=ostree/0/1/0", "ostree/container/image/docker_3A__2F__2F_example_2E_com/os_3A_1")
	const used, free = "docker://example.com/os:1", "docker://example.com/os:0"
	refs := h.refs()
	for _, images := range [][]string{
		{used}, {"ostree-unverified-registry:example.com/os:1"}, {free, used}, {"docker://example.com/none:1", used},
		{"ostree/container/image/docker_3A__2F__2F_example_2E_com/os_3A_1"},
	} {
		_, err := h.im.Remove(t.Context(), RemoveRequest{Images: images}, nil)
		want := "collect: " + used + " is in use: the deployment ostree/0/1/0 is its commit; "
		if KindOf(err) != KindImageInUse || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "--force") {
			t.Errorf("%q: %v", images, err)
		}
		if h.refs() != refs {
			t.Fatalf("%q: the refs have changed", images)
		}
	}
	if _, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{free}}, nil); err != nil {
		t.Error(err)
	}
	res, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{used}, Force: true}, nil)
	h.must(err)
	if len(res.Removed) != 1 || res.Collected == nil || res.Collected.Layers != 0 || h.blobRefs() != 2 {
		t.Errorf("%+v, %d layers are left: what a deployment needs stays", res, h.blobRefs())
	}
	h.ostree("fsck")
}
