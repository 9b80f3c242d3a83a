package ostreetar_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestCommitLayer takes a commit, in every encoding, through a layer into a repository of every
// mode.
func TestCommitLayer(t *testing.T) {
	from, c := source(t, ostreerepo.ModeArchive)
	for _, encoding := range encapsulated.Encodings() {
		archive := encapsulated.CommitLayer(t, from, c, encoding)
		for _, mode := range modes {
			t.Run(encoding.String()+"/"+string(mode), func(t *testing.T) {
				repo := newRepo(t, mode)
				st := newStaging(t, repo)
				got, stats, err := readCommit(t, st, archive, ostreetar.Options{})
				check(t, err)
				if (got != ostreetar.Commit{Checksum: c, Detached: true}) {
					t.Errorf("got %+v instead of %s", got, c)
				}
				if stats.Entries < 900 || stats.Objects < 300 || stats.Present != 0 || stats.Uncompressed != int64(len(archive)) {
					t.Errorf("stats %+v", stats)
				}
				check(t, st.Complete(t.Context(), c))
				land(t, st, "layer", c)
				check(t, repo.Fsck(t.Context()))
				if got, want := listing(t, repo, c), listing(t, from, c); got != want {
					t.Errorf("the listing is\n%s\ninstead of\n%s", got, want)
				}
				detached, err := repo.Detached(c)
				if value, _ := detached["signed"].AsString(); err != nil || value != "by me" {
					t.Errorf("the detached metadata are %v, %v", detached, err)
				}
				check(t, st.Close())
				checkAgain(t, repo, archive, stats.Objects)
			})
		}
	}
}

// checkAgain reads a layer whose objects the repository has. None is written.
func checkAgain(t *testing.T, repo *ostreerepo.Repo, archive []byte, want int) {
	t.Helper()
	_, stats, err := readCommit(t, newStaging(t, repo), archive, ostreetar.Options{})
	if err != nil || stats.Objects != want || stats.Present != want {
		t.Errorf("again: stats %+v, %v; want %d objects", stats, err, want)
	}
	if written, _ := filepath.Glob(repo.Path() + "/tmp/importd-*/objects/*/*.file*"); len(written) > 0 {
		t.Errorf("%d objects were written again", len(written))
	}
}

// TestSourceModes makes the layer from repositories of the other modes, which gives the same bytes.
func TestSourceModes(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir)
	var first []byte
	for _, mode := range modes {
		repo := newRepo(t, mode)
		archive := encapsulated.CommitLayer(t, repo, commitTree(t, repo, dir), encapsulated.Inline)
		if first == nil {
			first = archive
		}
		if !bytes.Equal(first, archive) {
			t.Errorf("%s gives another archive", mode)
		}
	}
}

// TestChunks reads a commit whose contents are in two chunks and a remainder, in every order of
// layers.
func TestChunks(t *testing.T) {
	from, c := source(t, ostreerepo.ModeBareUser)
	files := encapsulated.Files(t, from, c)
	chunks := [][]objects.Checksum{files[:len(files)/3], files[len(files)/3 : len(files)/2]}
	for _, encoding := range encapsulated.Encodings() {
		commitLayer := encapsulated.CommitLayer(t, from, c, encoding, chunks...)
		for _, mode := range modes {
			t.Run(encoding.String()+"/"+string(mode), func(t *testing.T) {
				repo := newRepo(t, mode)
				st := newStaging(t, repo)
				_, _, err := readCommit(t, st, commitLayer, ostreetar.Options{})
				check(t, err)
				for i, chunk := range chunks {
					if err := st.Complete(t.Context(), c); !errors.Is(err, ostreerepo.ErrNoObject) {
						t.Fatalf("before chunk %d: %v", i, err)
					}
					// Each lands by itself, as the layers of an image do that come one by one.
					other := newStaging(t, repo)
					commit, stats, err := readChunk(t, other, encapsulated.Chunk(t, from, chunk, encoding))
					check(t, err)
					if stats.Objects != len(chunk) {
						t.Errorf("chunk %d: stats %+v instead of %d objects", i, stats, len(chunk))
					}
					check(t, other.Complete(t.Context(), commit))
					land(t, other, fmt.Sprintf("chunk/%d", i), commit)
				}
				check(t, st.Complete(t.Context(), c))
				land(t, st, "commit", c)
				check(t, repo.Fsck(t.Context()))
				if got, want := listing(t, repo, c), listing(t, from, c); got != want {
					t.Errorf("the listing is\n%s\ninstead of\n%s", got, want)
				}
			})
		}
	}
}

// TestChunkCommit compares a chunk commit with the one that ostree makes of such a directory.
func TestChunkCommit(t *testing.T) {
	from, c := source(t, ostreerepo.ModeBare)
	files := encapsulated.Files(t, from, c)
	dir := filepath.Join(t.TempDir(), "root")
	check(t, os.Mkdir(dir, 0o755))
	for _, f := range files {
		text := f.String()
		check(t, os.Link(filepath.Join(from.Path(), "objects", text[:2], text[2:]+".file"), filepath.Join(dir, text)))
	}
	want := strings.TrimSpace(run(t, "ostree", "commit", "--repo="+from.Path(), "--branch=chunk", "--no-bindings", "--timestamp=@0", "--tree=dir="+dir))
	for _, mode := range modes {
		for _, encoding := range encapsulated.Encodings() {
			st := newStaging(t, newRepo(t, mode))
			got, _, err := readChunk(t, st, encapsulated.Chunk(t, from, files, encoding))
			if err != nil || got.String() != want {
				t.Errorf("%s, %s: the chunk commit is %s, %v instead of %s", mode, encoding, got, err, want)
			}
		}
	}
}

func TestEmptyChunk(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	st := newStaging(t, repo)
	c, stats, err := readChunk(t, st, encapsulated.Chunk(t, repo, nil, encapsulated.Inline))
	if err != nil || stats.Objects != 0 {
		t.Fatalf("stats %+v, %v", stats, err)
	}
	land(t, st, "chunk", c)
	check(t, repo.Fsck(t.Context()))
}

// TestVerify wants commit and detached metadata shown before anything is written.
func TestVerify(t *testing.T) {
	from, c := smallSource(t)
	with := encapsulated.CommitEntries(t, from, c, encapsulated.Inline)
	without := removeEntries(with, ".commitmeta")
	bare := keepUpTo(with, ".commit")
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		entries  []encapsulated.Entry
		detached bool
		err      error
	}{
		"detached": {with, true, nil}, "none": {without, false, nil}, "nothing but the commit": {bare, false, nil},
		"refused with detached": {with, true, refused}, "refused without": {without, false, refused}, "refused commit alone": {bare, false, refused},
	} {
		t.Run(name, func(t *testing.T) {
			repo := newRepo(t, ostreerepo.ModeBareUser)
			calls := 0
			verify := func(ctx context.Context, commit, detached []byte) error {
				calls++
				if objects.ChecksumOf(commit) != c {
					t.Errorf("the commit is %q", commit)
				}
				dict, err := objects.ParseDict(detached)
				if value, _ := dict["signed"].AsString(); (detached != nil) != test.detached || detached != nil && value != "by me" {
					t.Errorf("the detached metadata are %q, %v", detached, err)
				}
				checkNothing(t, repo)
				return test.err
			}
			got, _, err := readCommit(t, newStaging(t, repo), encapsulated.Tar(t, test.entries), ostreetar.Options{Verify: verify})
			if err != test.err || calls != 1 {
				t.Errorf("%v after %d calls", err, calls)
			}
			if err == nil && (got != ostreetar.Commit{Checksum: c, Detached: test.detached}) {
				t.Errorf("got %+v", got)
			}
			if err != nil {
				checkNothing(t, repo)
			}
		})
	}
}

// checkNothing reports any object in a repository and its stagings.
func checkNothing(t *testing.T, repo *ostreerepo.Repo) {
	t.Helper()
	for _, pattern := range []string{"/objects/*/*", "/tmp/importd-*/objects/*/*"} {
		if found, _ := filepath.Glob(repo.Path() + pattern); len(found) > 0 {
			t.Errorf("there are objects: %v", found)
		}
	}
}

func removeEntries(entries []encapsulated.Entry, suffix string) []encapsulated.Entry {
	var kept []encapsulated.Entry
	for _, e := range entries {
		if !strings.HasSuffix(e.Name, suffix) {
			kept = append(kept, e)
		}
	}
	return kept
}

func keepUpTo(entries []encapsulated.Entry, suffix string) []encapsulated.Entry {
	return entries[:find(entries, suffix)+1]
}

// find gives the first entry whose name ends with suffix.
func find(entries []encapsulated.Entry, suffix string) int {
	for i, e := range entries {
		if strings.HasSuffix(e.Name, suffix) {
			return i
		}
	}
	panic("no entry " + suffix)
}

// TestLeadingDots takes archives made by tools that write "./" before every name.
func TestLeadingDots(t *testing.T) {
	from, c := smallSource(t)
	for _, encoding := range encapsulated.Encodings() {
		entries := encapsulated.CommitEntries(t, from, c, encoding)
		for i := range entries {
			entries[i].Name = "./" + strings.TrimPrefix(entries[i].Name, "./")
			if entries[i].Linkname != "" && strings.HasPrefix(entries[i].Linkname, "sysroot") {
				entries[i].Linkname = "./" + entries[i].Linkname
			}
		}
		st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
		if got, _, err := readCommit(t, st, encapsulated.Tar(t, entries), ostreetar.Options{}); err != nil || got.Checksum != c {
			t.Errorf("%s: %+v, %v", encoding, got, err)
		}
		check(t, st.Complete(t.Context(), c))
	}
}

// TestBlobs wants the blob verified as that of any layer, and no commit before.
func TestBlobs(t *testing.T) {
	from, c := smallSource(t)
	archive := encapsulated.CommitLayer(t, from, c, encapsulated.Inline)
	for _, compression := range ociimage.Compressions() {
		blobData, err := compression.Compress(archive)
		check(t, err)
		right := layerOf(blobData, archive)
		wrong := right
		wrong.DiffID = "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000"
		st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
		if _, _, err := ostreetar.ReadCommit(t.Context(), st, bytes.NewReader(blobData), wrong, ostreetar.Options{}); !errors.Is(err, blob.ErrDiffID) {
			t.Errorf("%s: %v", compression, err)
		}
		if _, _, err := ostreetar.ReadCommit(t.Context(), st, bytes.NewReader(blobData[:len(blobData)-1]), right, ostreetar.Options{}); !errors.Is(err, blob.ErrSize) {
			t.Errorf("%s: %v", compression, err)
		}
		if st.Has(objects.KindCommit, c) || st.Has(objects.KindCommitMeta, c) {
			t.Errorf("%s: there is a commit", compression)
		}
		if got, _, err := ostreetar.ReadCommit(t.Context(), st, bytes.NewReader(blobData), right, ostreetar.Options{Writers: 2}); err != nil || got.Checksum != c {
			t.Errorf("%s: %+v, %v", compression, got, err)
		}
	}
}

// TestLargeDirectory takes a dirtree object larger than what the reference implementation reads.
func TestLargeDirectory(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	st := newStaging(t, repo)
	file, err := st.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, 0, bytes.NewReader(nil))
	check(t, err)
	var tree objects.DirTree
	for i := range 110_000 {
		tree.Files = append(tree.Files, objects.TreeFile{Name: fmt.Sprintf("%060d", i), Checksum: file})
	}
	treeSum, err := st.WriteDirTree(tree)
	check(t, err)
	metaSum, err := st.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755})
	check(t, err)
	c, err := st.WriteCommit(objects.Commit{Tree: treeSum, Meta: metaSum})
	check(t, err)
	land(t, st, "ref", c)
	other := newRepo(t, ostreerepo.ModeArchive)
	into := newStaging(t, other)
	archive := encapsulated.CommitLayer(t, repo, c, encapsulated.Inline)
	if got, _, err := readCommit(t, into, archive, ostreetar.Options{}); err != nil || got.Checksum != c || len(tree.Marshal()) <= 10<<20 {
		t.Errorf("%+v, %v, %d bytes", got, err, len(tree.Marshal()))
	}
	land(t, into, "ref", c)
}

// TestMixedHeaders reads archives as the reference implementation writes them: GNU headers, with a
// PAX header before those that have extended attributes, and long symlink targets in the GNU way
// between the two.
func TestMixedHeaders(t *testing.T) {
	from, c := source(t, ostreerepo.ModeArchive)
	var b bytes.Buffer
	mixed := 0
	for _, e := range encapsulated.CommitEntries(t, from, c, encapsulated.Inline) {
		if len(e.PAXRecords) > 0 {
			b.Write(paxHeader(t, e.PAXRecords))
			e.PAXRecords = nil
			mixed++
		}
		e.Format = tar.FormatGNU
		one := encapsulated.Tar(t, []encapsulated.Entry{e})
		b.Write(one[:len(one)-1024])
	}
	b.Write(make([]byte, 1024))
	if mixed < 50 {
		t.Fatalf("only %d entries have a PAX header", mixed)
	}
	st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	got, _, err := readCommit(t, st, b.Bytes(), ostreetar.Options{})
	if err != nil || got.Checksum != c {
		t.Fatalf("%+v, %v", got, err)
	}
	check(t, st.Complete(t.Context(), c))
}

// paxHeader makes an extended header of an entry that follows.
func paxHeader(t *testing.T, records map[string]string) []byte {
	t.Helper()
	var text string
	for key, value := range records {
		rest := len(" " + key + "=" + value + "\n")
		length := rest
		for length != rest+len(fmt.Sprint(length)) {
			length = rest + len(fmt.Sprint(length))
		}
		text += fmt.Sprintf("%d %s=%s\n", length, key, value)
	}
	b := encapsulated.Tar(t, []encapsulated.Entry{regular("pax", text)})
	b[156] = tar.TypeXHeader
	return withChecksums(b[:len(b)-1024])
}

// TestPlainTar has tar itself unpack and pack a layer again, as container tools do that rewrite
// images.
func TestPlainTar(t *testing.T) {
	from, c := smallSource(t)
	dir := t.TempDir()
	unpack := exec.Command(needs.Tool(t, "tar"), "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(encapsulated.CommitLayer(t, from, c, encapsulated.Inline))
	check(t, unpack.Run())
	text := c.String()
	commit := encapsulated.Repo + "objects/" + text[:2] + "/" + text[2:] + ".commit"
	names := []string{commit, commit + "meta"}
	for _, suffix := range []string{"dirtree", "dirmeta"} {
		found, _ := filepath.Glob(filepath.Join(dir, encapsulated.Repo, "objects/*/*."+suffix))
		for _, path := range found {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
	}
	for _, f := range encapsulated.Files(t, from, c) {
		names = append(names, encapsulated.ObjectPath(f, "file-xattrs-link"), encapsulated.ObjectPath(f, "file"))
	}
	for _, format := range []string{"gnu", "pax"} {
		archive := run(t, "tar", append([]string{"-c", "--format=" + format, "-C", dir}, names...)...)
		st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
		got, _, err := readCommit(t, st, []byte(archive), ostreetar.Options{})
		if err != nil || got.Checksum != c {
			t.Errorf("%s: %+v, %v", format, got, err)
		}
		if err := st.Complete(t.Context(), c); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}
