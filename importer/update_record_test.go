package importer

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestRecordsOfOthers: another importer's record is about every name of the commit, and one that
// makes no sense about none.
func TestRecordsOfOthers(t *testing.T) {
	first, second := versions(t)
	record := func(change func(objects.Dict)) func(h *testHost) {
		return func(h *testHost) {
			d := objects.Dict{
				cachedDigest: objects.String(second.digest.String()), cachedManifest: objects.String(string(second.rawManifest)),
				cachedConfig: objects.String(string(second.rawConfig)),
			}
			change(d)
			h.setDetached(testRef, d)
		}
	}
	cases := []struct {
		name   string
		make   func(h *testHost)
		want   string // the version of the update
		err    string // of asking for it
		broken bool
	}{
		{"whole", record(func(objects.Dict) {}), "1.3", "", false},
		{"of what is stored", record(func(d objects.Dict) { d[cachedDigest] = objects.String(first.digest.String()) }), "-", "", false},
		{"no digest", record(func(d objects.Dict) { delete(d, cachedDigest) }), "-", "", false},
		{"no manifest", record(func(d objects.Dict) { delete(d, cachedManifest) }), "-", "lacks its manifest", false},
		{"no config", record(func(d objects.Dict) { delete(d, cachedConfig) }), "-", "lacks its manifest or its config", false},
		{"a manifest of nothing", record(func(d objects.Dict) { d[cachedManifest] = objects.String("{}") }), "-", "schema version", false},
		{"a config that is none", record(func(d objects.Dict) { d[cachedConfig] = objects.String("[") }), "-", "not valid JSON", false},
		{"a config of another type", record(func(d objects.Dict) { d[cachedConfig] = objects.Uint64(1) }), "-", "lacks its manifest or its config", false},
		{"damaged", func(h *testHost) {
			h.setDetached(testRef, objects.Dict{})
			commit, err := h.repo.Resolve(testRef)
			h.must(err)
			writeFile(h, h.object(commit.String(), "commitmeta"), []byte("damage"))
		}, "-", "corrupted", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
			h.mustPull(Request{Image: testName})
			c.make(h)
			if got := h.updates(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if image, err := h.im.Image(t.Context(), testName); err != nil || (image.Broken != "") != c.broken {
				t.Errorf("broken: %q, %v", image.Broken, err)
			}
			update, err := h.im.CheckUpdate(t.Context(), UpdateRequest{Image: testName, Offline: true})
			switch {
			case c.err == "" && (err != nil || update.Available != (c.want != "-")):
				t.Errorf("%+v, %v", update, err)
			case c.err != "" && (KindOf(err) != KindCorrupted || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "anew")):
				t.Errorf("error %v, want …%s…", err, c.err)
			}
			h.checkRecordedAnew(c.make, first, "-")
			h.checkRecordedAnew(c.make, second, "1.3")
			h.ostree("fsck")
		})
	}
}

// checkRecordedAnew checks that asking the origin, which has this image now, replaces a record.
func (h *testHost) checkRecordedAnew(record func(*testHost), now *testImage, want string) {
	h.Helper()
	record(h)
	h.registry.images[testName] = now
	h.checkUpdate(UpdateRequest{Image: testName})
	if got := h.updates(); got != want {
		h.Errorf("recorded anew: %s, want %s", got, want)
	}
	if image, err := h.im.Image(h.Context(), testName); err != nil || image.Broken != "" {
		h.Errorf("afterwards broken: %q, %v", image.Broken, err)
	}
}

// TestUpdateOnReadOnly: on a file system that can't be written an update is found, not recorded,
// and that is logged.
func TestUpdateOnReadOnly(t *testing.T) {
	first, second := versions(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
	h.mustPull(Request{Image: testName})
	h.registry.images[testName] = second
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	im := New(Config{Repo: h.repo, Open: h.registry.Open, Log: logger})

	mount := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(needs.Tool(t, "mount"), args...).CombinedOutput(); err != nil {
			t.Fatalf("mount %v: %v: %s", args, err, out)
		}
	}
	mount("--bind", h.repo.Path(), h.repo.Path())
	unmount := func() {
		t.Helper()
		if out, err := exec.Command(needs.Tool(t, "umount"), h.repo.Path()).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	}
	mount("-o", "remount,bind,ro", h.repo.Path())
	update, err := im.CheckUpdate(t.Context(), UpdateRequest{Image: testName})
	unmount()
	if err != nil || !update.Available {
		t.Errorf("%+v, %v", update, err)
	}
	if got := h.updates(); got != "-" || !strings.Contains(log.String(), "read-only") {
		t.Errorf("recorded is %s; logged was %s", got, &log)
	}
	h.checkClean(h.refs())
}

// TestUpdateOnFull: on a file system that is full an update is found, not recorded, and that is
// logged.
func TestUpdateOnFull(t *testing.T) {
	needs.Root(t)
	first, second := versions(t)
	h := newHost(t, ostreerepo.ModeArchive, newRegistry(testName, first))
	h.mustPull(Request{Image: testName})
	h.registry.images[testName] = second
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("cannot mount a tmpfs: %v: run the tests where that is allowed", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
	if out, err := exec.Command(needs.Tool(t, "cp"), "-a", h.repo.Path(), dir+"/repo").CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	full, err := ostreerepo.Open(t.Context(), dir+"/repo", ostreerepo.Options{})
	h.must(err)
	if err := os.WriteFile(dir+"/filler", make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the file system: %v", err)
	}
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	im := New(Config{Repo: full, Open: h.registry.Open, Log: logger})
	update, err := im.CheckUpdate(t.Context(), UpdateRequest{Image: testName})
	if err != nil || !update.Available {
		t.Errorf("%+v, %v", update, err)
	}
	offline, err := im.CheckUpdate(t.Context(), UpdateRequest{Image: testName, Offline: true})
	if err != nil || offline.Available || !strings.Contains(log.String(), "no space left") {
		t.Errorf("recorded is %+v, %v; logged was %s", offline, err, &log)
	}
}
