package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// entry is an entry of a test archive: a tar header with its content.
type entry struct {
	tar.Header
	content string
}

type option func(*entry)

func owned(uid, gid int) option { return func(e *entry) { e.Uid, e.Gid = uid, gid } }
func mode(m int64) option       { return func(e *entry) { e.Mode = m } }
func pax(key, value string) option {
	return func(e *entry) {
		if e.PAXRecords == nil {
			e.PAXRecords = make(map[string]string)
		}
		e.PAXRecords[key] = value
	}
}
func xattr(name, value string) option { return pax("SCHILY.xattr."+name, value) }

func newEntry(typeflag byte, name, target, content string, m int64, options []option) entry {
	e := entry{tar.Header{Typeflag: typeflag, Name: name, Linkname: target, Mode: m, Size: int64(len(content))}, content}
	for _, o := range options {
		o(&e)
	}
	return e
}

func file(name, content string, options ...option) entry {
	return newEntry(tar.TypeReg, name, "", content, 0o644, options)
}
func dir(name string, options ...option) entry {
	return newEntry(tar.TypeDir, name, "", "", 0o755, options)
}
func symlink(name, target string, options ...option) entry {
	return newEntry(tar.TypeSymlink, name, target, "", 0o777, options)
}
func link(name, target string, options ...option) entry {
	return newEntry(tar.TypeLink, name, target, "", 0o644, options)
}
func special(typeflag byte, name string) entry {
	return newEntry(typeflag, name, "", "", 0o600, nil)
}

// archive makes a tar archive.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layerOf describes a blob and the archive that it holds.
func layerOf(blob, archive []byte) Layer {
	return Layer{
		Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))},
		DiffID:     digest.FromBytes(archive),
	}
}

func newRepo(t testing.TB, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(context.Background(), t.TempDir()+"/repo", mode, ostreerepo.Options{})
	if err != nil {
		t.Fatalf("%v (on Debian: apt install ostree)", err)
	}
	return repo
}

func newStaging(t testing.TB, repo *ostreerepo.Repo) *ostreerepo.Staging {
	t.Helper()
	st, err := repo.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// land imports an uncompressed archive and lands its commit.
func land(t testing.TB, repo *ostreerepo.Repo, data []byte, opts Options) (objects.Checksum, Stats) {
	t.Helper()
	st := newStaging(t, repo)
	commit, stats, err := Import(t.Context(), st, bytes.NewReader(data), layerOf(data, data), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetRef("layer", commit); err != nil {
		t.Fatal(err)
	}
	if err := st.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := repo.Fsck(t.Context()); err != nil {
		t.Fatal(err)
	}
	return commit, stats
}

func ostree(t testing.TB, repo *ostreerepo.Repo, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "ostree"), append([]string{"--repo=" + repo.Path()}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ostree %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// listing is what ostree lists of a commit, a line per entry, without the extended attributes of
// those that have none.
func listing(t testing.TB, repo *ostreerepo.Repo, commit objects.Checksum) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(ostree(t, repo, "ls", "-R", "-X", commit.String())) {
		fields := strings.Fields(strings.Replace(line, "{ @a(ayay) [] }", "", 1))
		lines = append(lines, strings.Join(fields, " "))
	}
	return lines
}
