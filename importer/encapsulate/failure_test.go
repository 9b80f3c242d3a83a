package encapsulate_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// filePath is where a repository has a content object.
func filePath(repo *ostreerepo.Repo, c objects.Checksum) string {
	path := filepath.Join(repo.Path(), "objects", c.String()[:2], c.String()[2:]+".file")
	if repo.Mode() == ostreerepo.ModeArchive {
		path += "z"
	}
	return path
}

// TestDamage wants no image of a damaged commit, and what is damaged told.
func TestDamage(t *testing.T) {
	damages := map[string]struct {
		do   func(t *testing.T, path string)
		want error
	}{
		"changed": {func(t *testing.T, path string) {
			raw, err := os.ReadFile(path)
			check(t, err)
			raw[len(raw)/2] ^= 1
			check(t, os.WriteFile(path, raw, 0o644))
		}, ostreerepo.ErrCorrupted},
		"cut": {func(t *testing.T, path string) {
			info, err := os.Stat(path)
			check(t, err)
			check(t, os.Truncate(path, info.Size()/2))
		}, ostreerepo.ErrCorrupted},
		"empty":   {func(t *testing.T, path string) { check(t, os.Truncate(path, 0)) }, ostreerepo.ErrCorrupted},
		"missing": {func(t *testing.T, path string) { check(t, os.Remove(path)) }, ostreerepo.ErrNoObject},
	}
	// An archive repository's file has a size in its header, which the checksum does not cover.
	archived := map[string]uint64{"a size too large": 1 << 20, "a size too small": 10, "an impossible size": 1 << 63}
	for name, size := range archived {
		damage := damages["cut"]
		damage.do = func(t *testing.T, path string) {
			raw, err := os.ReadFile(path)
			check(t, err)
			binary.BigEndian.PutUint64(raw[8:], size)
			check(t, os.WriteFile(path, raw, 0o644))
		}
		damages[name] = damage
	}
	for _, mode := range modes {
		for name, damage := range damages {
			if archived[name] > 0 && mode != ostreerepo.ModeArchive {
				continue
			}
			t.Run(string(mode)+", "+name, func(t *testing.T) {
				repo, c := commitFiles(t, mode, map[string]node{"usr/share/file": {content: fmt.Sprint(slices.Repeat([]int{1, 22, 333}, 500))}, "usr/other": {content: "x"}})
				at := run(t, "ostree", "--repo="+repo.Path(), "ls", "-C", c.String(), "/usr/share/file")
				file, err := objects.ParseChecksum(strings.Fields(at)[4])
				check(t, err)
				damage.do(t, filePath(repo, file))
				dir := t.TempDir() + "/layout"
				_, err = tryWrite(t.Context(), repo, c, dir, encapsulate.Options{})
				wantError(t, err, "encapsulate "+c.String()+": ", "/usr/share/file: ", file.String())
				if !errors.Is(err, damage.want) {
					t.Errorf("%v is not %v", err, damage.want)
				}
				if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a layout is there: %v", err)
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"file": {content: "x"}})
	missing := objects.ChecksumOf([]byte("missing"))
	stopped := errors.New("stopped")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	late := commitLate(t, repo)
	for name, test := range map[string]struct {
		ctx    context.Context
		commit objects.Checksum
		opts   encapsulate.Options
		is     error
		want   string
	}{
		"no commit":       {t.Context(), missing, encapsulate.Options{}, ostreerepo.ErrNoObject, missing.String()},
		"canceled":        {canceled, c, encapsulate.Options{}, stopped, "encapsulate " + c.String()},
		"too many layers": {t.Context(), c, encapsulate.Options{MaxLayers: 128}, nil, "128 layers are not possible; ask for 1 to 127, or 0 for 64"},
		"negative layers": {t.Context(), c, encapsulate.Options{MaxLayers: -1}, nil, "-1 layers are not possible"},
		"no compression":  {t.Context(), c, encapsulate.Options{Compression: ocilayout.Compression{Format: "lz4"}}, nil, `the compression "lz4" is unknown; write gzip, zstd or none`},
		"large labels":    {t.Context(), c, encapsulate.Options{Labels: map[string]string{"l": strings.Repeat("x", 5<<20)}}, nil, "config: it gets "},
		"impossible time": {t.Context(), late, encapsulate.Options{}, nil,
			"timestamp of 1000000000000 seconds can't be written as a date; give a time of creation"},
		"impossible date":  {t.Context(), c, encapsulate.Options{Created: time.Unix(1e12, 0)}, nil, "config: "},
		"prior is no help": {t.Context(), missing, encapsulate.Options{Prior: &ocispec.Manifest{}}, ostreerepo.ErrNoObject, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tryWrite(test.ctx, repo, test.commit, t.TempDir()+"/layout", test.opts)
			wantError(t, err, test.want)
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
}

// commitLate commits a tree with a timestamp after the year 9999.
func commitLate(t testing.TB, repo *ostreerepo.Repo) objects.Checksum {
	t.Helper()
	st, err := repo.NewStaging()
	check(t, err)
	defer st.Close()
	tree, err := st.WriteDirTree(objects.DirTree{})
	check(t, err)
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: 0o40755})
	check(t, err)
	c, err := st.WriteCommit(objects.Commit{Tree: tree, Meta: meta, Timestamp: 1e12})
	check(t, err)
	check(t, st.SetRef("late", c))
	check(t, st.Land(t.Context()))
	return c
}

// TestHugeTree is about a tree of a few objects with more paths than anybody could write.
func TestHugeTree(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeArchive)
	st, err := repo.NewStaging()
	check(t, err)
	defer st.Close()
	file, err := st.WriteFile(objects.FileHeader{Mode: 0o100644}, 1, strings.NewReader("x"))
	check(t, err)
	meta, err := st.WriteDirMeta(objects.DirMeta{Mode: 0o40755})
	check(t, err)
	tree, err := st.WriteDirTree(objects.DirTree{Files: []objects.TreeFile{{Name: "f", Checksum: file}}})
	check(t, err)
	for range 30 {
		tree, err = st.WriteDirTree(objects.DirTree{Dirs: []objects.TreeDir{{Name: "a", Tree: tree, Meta: meta}, {Name: "b", Tree: tree, Meta: meta}}})
		check(t, err)
	}
	c, err := st.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
	check(t, err)
	check(t, st.SetRef("huge", c))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// No landing: ostree would walk all the paths.
	staged, err := filepath.Glob(repo.Path() + "/tmp/importd-*/objects")
	check(t, err)
	run(t, "cp", "-r", staged[0], repo.Path())
	_, err = tryWrite(ctx, repo, c, t.TempDir()+"/layout", encapsulate.Options{})
	wantError(t, err, "more than 4194304 files and directories")
}
