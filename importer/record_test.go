package importer

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Keys that earlier versions wrote into detached metadata.
const (
	earlierRefs = "ostree-importd.cached.refs"
	earlierText = "ostree-importd.signature-text"
)

// earlierNotes is what an earlier version has put into the detached metadata of a commit: an update
// of the images that refs name, and what the check of signatures has said.
func earlierNotes(newer *testImage, refs ...string) objects.Dict {
	return objects.Dict{
		cachedDigest: objects.String(newer.digest.String()), cachedManifest: objects.String(string(newer.rawManifest)),
		cachedConfig: objects.String(string(newer.rawConfig)), earlierRefs: objects.Strings(refs),
		earlierText: objects.String("Good signature"),
	}
}

// told gives what is told of an image: the version of its update and what the check of signatures
// has said.
func (h *testHost) told(name string) string {
	h.Helper()
	image, err := h.im.Image(h.Context(), name)
	h.must(err)
	if image.Broken != "" {
		h.Errorf("%s is broken: %s", name, image.Broken)
	}
	version := "-"
	if image.Update != nil {
		version = image.Update.Version
	}
	return version + " " + image.VerifyText
}

// TestEarlierNotesMove: what an earlier version has put into detached metadata is told as before
// until the next write, which moves it and leaves no detached metadata but those of others.
func TestEarlierNotesMove(t *testing.T) {
	first, second := versions(t)
	const other = "docker://example.com/other:1"
	otherRef, err := (&Importer{}).storedRef(other)
	if err != nil {
		t.Fatal(err)
	}
	remove := func(h *testHost) {
		_, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{"docker://example.com/none:1"}}, nil)
		h.must(err)
		_, err = h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, nil)
		h.must(err)
	}
	for _, c := range []struct {
		name  string
		notes objects.Dict
		write func(h *testHost)
		here  string // what is told of the image afterwards
		there string // and of the other one, which is the same commit
		left  string
	}{
		{"prepared", nil, func(h *testHost) { h.checkUpdate(UpdateRequest{Image: testName}) }, "1.3 Good signature", "- Good signature", "none"},
		{"imported", nil, func(h *testHost) {
			h.registry.images[testName] = first
			h.mustPull(Request{Image: testName})
		}, "- Good signature", "- Good signature", "none"},
		{"collected", nil, remove, "1.3 Good signature", "- Good signature", "none"},
		{
			"with those of others", objects.Dict{"ostree.gpgsigs": objects.Strings(nil)},
			func(h *testHost) { h.checkUpdate(UpdateRequest{Image: testName}) }, "1.3 Good signature", "- Good signature", "ostree.gpgsigs",
		},
		{"copied", nil, func(h *testHost) {
			_, err := h.im.Copy(t.Context(), CopyRequest{Image: testName, Repository: h.repo.Path(), Target: "docker://example.com/copy:1"}, nil)
			h.must(err)
			if got := h.told("docker://example.com/copy:1"); got != "- Good signature" {
				t.Errorf("of the copy is told %q", got)
			}
		}, "1.3 Good signature", "- Good signature", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
			h.registry.images[other] = first
			commit := h.mustPull(Request{Image: testName}).Commit
			h.mustPull(Request{Image: other})
			h.ostree("refs", "--create=ostree/0/1/0", commit) // deployed
			notes := earlierNotes(second, testRef)
			maps.Copy(notes, c.notes)
			h.setDetached(testRef, notes)
			h.registry.images[testName] = second
			check := func(when, here, there string) {
				t.Helper()
				if got := h.told(testName); got != here {
					t.Errorf("%s: of the image is told %q, want %q", when, got, here)
				}
				if got := h.told(other); got != there {
					t.Errorf("%s: of the other image is told %q, want %q", when, got, there)
				}
			}
			check("before", "1.3 Good signature", "- Good signature")
			c.write(h)
			check("afterwards", c.here, c.there)
			if got := h.detached(commit); got != c.left {
				t.Errorf("the detached metadata hold %s, want %s", got, c.left)
			}
			if c, err := h.repo.Resolve(reference.RecordRef(otherRef)); err != nil {
				t.Errorf("the other image's record %s: %v", c, err)
			}
			h.ostree("fsck")
		})
	}
}

// TestDeployedCommitsLoseEarlierNotes: a collection cleans commits that only a deployment names,
// too, and leaves commits alone that are no image's.
func TestDeployedCommitsLoseEarlierNotes(t *testing.T) {
	first, second := versions(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	commit := h.mustPull(Request{Image: testName}).Commit
	h.ostree("refs", "--create=ostree/0/1/0", commit)
	h.setDetached(testRef, earlierNotes(second, testRef))
	dir := t.TempDir()
	h.ostree("commit", "--branch=theirs", "--tree=dir="+dir, "--add-detached-metadata-string="+earlierText+"=theirs")
	h.registry.images[testName] = second
	h.mustPull(Request{Image: testName})
	if got := h.detached(commit); got != "none" {
		t.Errorf("the detached metadata of the deployed commit hold %s", got)
	}
	theirs, err := h.repo.Resolve("theirs")
	h.must(err)
	if got := h.detached(theirs.String()); got != earlierText {
		t.Errorf("the detached metadata of a commit that is no image's hold %s", got)
	}
}

// TestNothingWritesDetachedMetadata: none of what is done with a stored image leaves its commit
// with detached metadata.
func TestNothingWritesDetachedMetadata(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			key := newSigningKey(t)
			s := newSystem(t, plainSystem)
			s.sign(key)
			signed := s.image(0)
			_, second := versions(t)
			h := newHost(t, mode, newRegistry(testName, signed))
			h.addRemote("vendor", key)
			commit := h.mustPull(Request{Image: remoteName}).Commit
			h.ostree("refs", "--create=ostree/0/1/0", commit)
			h.registry.images[testName] = second
			h.checkUpdate(UpdateRequest{Image: testName})
			if got := h.told(testName); !strings.HasPrefix(got, "1.3 ") || !strings.Contains(got, "Good signature") {
				t.Errorf("of the image is told %q", got)
			}
			to, err := ostreerepo.Create(t.Context(), t.TempDir()+"/repo", mode, ostreerepo.Options{})
			h.must(err)
			_, err = h.im.Copy(t.Context(), CopyRequest{Image: testName, Repository: to.Path()}, nil)
			h.must(err)
			copied := &testHost{TB: t, repo: to, registry: h.registry, im: New(Config{Repo: to, Open: h.registry.Open})}
			if got, want := copied.told(testName), h.told(testName); got != want {
				t.Errorf("of the copy is told %q, want %q", got, want)
			}
			for _, host := range []*testHost{h, copied} {
				if got := host.detached(commit); got != "none" {
					t.Errorf("%s: the detached metadata hold %s", host.repo.Path(), got)
				}
			}
			h.mustPull(Request{Image: testName})
			if got := h.detached(commit); got != "none" {
				t.Errorf("deployed, the detached metadata hold %s", got)
			}
		})
	}
}

// TestRecordsGoWithTheirImages: a record is dropped with its image, or by the next collection where
// another program has dropped or replaced that, and stays otherwise, whatever ostree prunes.
func TestRecordsGoWithTheirImages(t *testing.T) {
	first, second := versions(t)
	for _, c := range []struct {
		name string
		drop func(h *testHost)
		left bool
	}{
		{"collected", func(*testHost) {}, true},
		{"pruned by ostree", func(h *testHost) { h.ostree("prune", "--refs-only", "--keep-younger-than=now") }, true},
		{"removed", func(h *testHost) {
			_, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{testName}, SkipGC: true}, nil)
			h.must(err)
			if _, err := h.repo.Resolve(h.recordRef(testName)); err == nil {
				t.Error("the record is there when its image is removed")
			}
		}, false},
		{"removed by another program", func(h *testHost) { h.ostree("refs", "--delete", testRef) }, false},
		{"replaced by another program", func(h *testHost) {
			h.ostree("commit", "--branch="+testRef, "--tree=dir="+t.TempDir(), "--add-metadata-string=ostree.manifest=none")
		}, false},
		{"damaged", func(h *testHost) {
			commit, err := h.repo.Resolve(h.recordRef(testName))
			h.must(err)
			writeFile(h, h.object(commit.String(), "commit"), []byte("damage"))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
			h.mustPull(Request{Image: testName})
			h.registry.images[testName] = second
			h.checkUpdate(UpdateRequest{Image: testName})
			ref := h.recordRef(testName)
			if _, err := h.repo.Resolve(ref); err != nil {
				t.Fatal(err)
			}
			c.drop(h)
			res, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, nil)
			h.must(err)
			if _, err := h.repo.Resolve(ref); (err == nil) != c.left {
				t.Errorf("the record: %v", err)
			}
			if c.left && (h.updates() != "1.3" || res.Layers != 0) {
				t.Errorf("recorded is %s, %d layers were dropped", h.updates(), res.Layers)
			}
		})
	}
}

// TestDamagedRecord: a record that cannot be read says nothing of its image, and asking the origin
// replaces it.
func TestDamagedRecord(t *testing.T) {
	first, second := versions(t)
	for name, damage := range map[string]func(h *testHost, ref, object string){
		"commit":         func(h *testHost, _, object string) { writeFile(h, object, []byte("damage")) },
		"no commit":      func(h *testHost, _, object string) { h.must(os.Remove(object)) },
		"ref":            func(h *testHost, ref, _ string) { writeFile(h, h.repo.Path()+"/refs/heads/"+ref, []byte("none\n")) },
		"another commit": func(h *testHost, ref, _ string) { h.ostree("refs", "--force", "--create="+ref, testRef) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
			h.mustPull(Request{Image: testName})
			h.registry.images[testName] = second
			h.checkUpdate(UpdateRequest{Image: testName})
			ref := h.recordRef(testName)
			commit, err := h.repo.Resolve(ref)
			h.must(err)
			damage(h, ref, h.object(commit.String(), "commit"))
			if got := h.told(testName); got != "- " {
				t.Errorf("of the image is told %q", got)
			}
			h.checkUpdate(UpdateRequest{Image: testName})
			if got := h.told(testName); got != "1.3 " {
				t.Errorf("checked again, of the image is told %q", got)
			}
			h.ostree("fsck")
		})
	}
}

// TestLaterWord: the last one to have looked at the origin is right, be it this program or the one
// that writes into detached metadata. What is forgotten is so whoever recorded it.
func TestLaterWord(t *testing.T) {
	first, second := versions(t)
	third := newImage(t, []string{"f usr/bin/own 3"})
	third.label("org.opencontainers.image.version", "1.4")
	third.seal(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	h.mustPull(Request{Image: testName})
	theirs := func(newer *testImage) {
		notes := earlierNotes(newer)
		delete(notes, earlierRefs)
		delete(notes, earlierText)
		h.setDetached(testRef, notes)
	}
	ours := func(now *testImage) {
		h.registry.images[testName] = now
		h.checkUpdate(UpdateRequest{Image: testName})
	}
	forget := func(*testImage) {
		opened := len(h.registry.opened)
		if update := h.checkUpdate(UpdateRequest{Image: testName, Forget: true}); update.Available || len(h.registry.opened) != opened {
			t.Errorf("forgotten is %+v", update)
		}
	}
	for i, step := range []struct {
		look func(*testImage)
		now  *testImage
		want string
	}{
		{theirs, second, "1.3"},
		{ours, first, "-"},
		{theirs, third, "1.4"},
		{ours, second, "1.3"},
		{theirs, second, "1.3"},
		{ours, first, "-"},
		{ours, third, "1.4"},
		{theirs, first, "-"},
		{theirs, third, "1.4"},
		{forget, nil, "-"},
		{theirs, second, "1.3"},
		{ours, third, "1.4"},
		{forget, nil, "-"},
		{forget, nil, "-"},
		{ours, third, "1.4"},
	} {
		step.look(step.now)
		if got := h.updates(); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}
