package importer

import (
	"context"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestImageOfAnotherImporter: an image that ostree-ext has stored is whole, whichever of its
// versions it was.
func TestImageOfAnotherImporter(t *testing.T) {
	cases := []struct {
		name, config string
		extra        []string
	}{
		{"today", "as it is", nil},
		{"with what was filtered", "as it is", []string{"--add-metadata=ostree.tar-filtered={'sha256:00': {'opt': uint32 1}}"}},
		{"of 2022", "null", nil},
		{"of 2021", "", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t, plainSystem)
			layer := []string{"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/new 1"}
			image := s.image(2, layer)
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			ours := h.mustPull(Request{Image: testName})
			h.foreignLayer(image.ref(t, 3), layer...)
			if c.config == "as it is" {
				c.config = string(image.rawConfig)
			}
			h.foreignImage(testRef, image, c.config, append(c.extra, "--parent="+s.commit.String(), "--tree=ref="+ours.Commit)...)
			h.registry.requested()

			res := h.mustPull(Request{Image: testName})
			if n := h.registry.requested(); n != 0 || !res.AlreadyPresent || res.Commit == ours.Commit || *res.BaseCommit != s.commit.String() {
				t.Errorf("%d layers were fetched for %+v", n, res)
			}
			got, err := h.im.Image(context.Background(), testName)
			h.must(err)
			var kinds []string
			for _, l := range got.Layers {
				kinds = append(kinds, l.Kind)
			}
			if got.Broken != "" || got.BaseCommit != s.commit.String() || strings.Join(kinds, " ") != "ostree-commit ostree-chunk ostree-chunk derived" {
				t.Errorf("image %+v", got)
			}
			h.checkClean(h.refs())
		})
	}
}

// byAnother is the option by which a commit says that ostree-ext made it.
const byAnother = "--add-metadata-string=ostree.importer.version=0.15.3"

// foreignLayer stores a derived layer as ostree-ext does.
func (h *testHost) foreignLayer(ref string, lines ...string) {
	h.Helper()
	tree := h.TempDir() + "/layer.tar"
	writeFile(h, tree, archive(h, lines...))
	h.ostree("commit", "--no-bindings", byAnother, "--parent=none", "--timestamp=@0", "--branch="+ref, "--tree=tar="+tree)
}

// foreignImage stores an image's commit as ostree-ext does, of the tree and the parent that the
// options name.
func (h *testHost) foreignImage(ref string, image *testImage, config string, options ...string) {
	h.Helper()
	manifest, err := canonical(image.rawManifest)
	h.must(err)
	options = append([]string{
		"commit", "--no-bindings", byAnother, "--branch=" + ref,
		"--add-metadata-string=" + stored.MetaManifest + "=" + manifest,
		"--add-metadata-string=" + stored.MetaManifestDigest + "=" + image.digest.String(),
	}, options...)
	if config != "" {
		options = append(options, "--add-metadata-string="+stored.MetaConfig+"="+config)
	}
	h.ostree(options...)
}
