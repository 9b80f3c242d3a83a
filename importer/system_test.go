package importer

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// system is a commit that the ostree command has made, in a repository of its own, to be
// encapsulated.
type system struct {
	testing.TB
	repo   *ostreerepo.Repo
	commit objects.Checksum
}

// systemTime is the timestamp of such commits.
const systemTime = 1735689600 // 2025-01-01

// plainSystem is what most tests take for a system.
var plainSystem = []string{
	"d . 755", "d usr 755", "d usr/bin 755", "f usr/bin/sh the shell", "f usr/bin/ls lists", "d usr/etc 755", "f usr/etc/passwd root", "f usr/etc/group root",
	"d usr/lib 755", "f usr/lib/libc the library", "l usr/lib/libc.so libc", "l lib usr/lib", "d var 755", "d sysroot 755", "l ostree sysroot/ostree",
}

// newSystem commits a tree that is written as the layers of a testImage are, with more options for
// the ostree command.
func newSystem(t testing.TB, lines []string, options ...string) *system {
	t.Helper()
	dir := t.TempDir()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(dir, "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &system{TB: t, repo: repo}
	s.commitLines(lines, options...)
	return s
}

// commitLines makes another commit the system's.
func (s *system) commitLines(lines []string, options ...string) {
	s.Helper()
	tree := filepath.Join(s.TempDir(), "tree.tar")
	writeFile(s, tree, archive(s, lines...))
	s.ostree(append([]string{
		"commit", "--branch=os", "--subject=a system", "--add-metadata-string=version=42.1", "--timestamp=@1735689600", "--tree=tar=" + tree,
	}, options...)...)
	s.commit = mustChecksum(s, strings.TrimSpace(s.ostree("rev-parse", "os")))
}

func (s *system) ostree(args ...string) string {
	s.Helper()
	out, err := exec.Command(needs.Tool(s, "ostree"), append([]string{"--repo=" + s.repo.Path()}, args...)...).CombinedOutput()
	if err != nil {
		s.Fatalf("ostree %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// archives encapsulates the commit with that many chunks.
func (s *system) archives(e encapsulated.Encoding, chunks int) [][]byte {
	s.Helper()
	split := make([][]objects.Checksum, chunks)
	if chunks > 0 {
		for i, c := range encapsulated.Files(s, s.repo, s.commit) {
			split[i%chunks] = append(split[i%chunks], c)
		}
	}
	archives := [][]byte{encapsulated.CommitLayer(s, s.repo, s.commit, e, split...)}
	for _, chunk := range split {
		archives = append(archives, encapsulated.Chunk(s, s.repo, chunk, e))
	}
	return archives
}

// image encapsulates the commit in today's encoding, with that many chunks, and puts layers on it.
func (s *system) image(chunks int, derived ...[]string) *testImage {
	s.Helper()
	return systemImage(s, s.archives(encapsulated.Inline, chunks), derived...)
}

// systemImage makes an image of the archives of a commit, and puts layers on it.
func systemImage(t testing.TB, archives [][]byte, derived ...[]string) *testImage {
	t.Helper()
	image := imageOf(t, slices.Concat(archives, archivesOf(t, derived))...)
	image.label(document.LabelFinalDiffID, digest.FromBytes(archives[len(archives)-1]).String())
	return image.seal(t)
}

// label sets a label of the config.
func (i *testImage) label(key, value string) {
	i.config["config"].(map[string]any)["Labels"].(map[string]any)[key] = value
}

// ref gives the ref of a layer.
func (i *testImage) ref(t testing.TB, layer int) string {
	t.Helper()
	return "ostree/container/blob/sha256_3A_" + i.manifest.Layers[layer].Digest.Encoded()
}
