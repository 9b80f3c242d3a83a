package objects_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// ostree runs the real command and returns its standard output without white space around it.
func ostree(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "ostree"), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // ostree converts its arguments
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ostree %.200q: %v\n%s", args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// newRepo makes a repository that an ordinary user can write.
func newRepo(t *testing.T) string {
	t.Helper()
	repo := t.TempDir()
	ostree(t, nil, "init", "--repo="+repo, "--mode=bare-user")
	return repo
}

// tarTree is a tar archive under construction.
type tarTree struct {
	t   *testing.T
	buf bytes.Buffer
	w   *tar.Writer
}

func newTarTree(t *testing.T) *tarTree {
	tree := &tarTree{t: t}
	tree.w = tar.NewWriter(&tree.buf)
	tree.dir("./", nil)
	return tree
}

func (tree *tarTree) add(h *tar.Header) {
	tree.t.Helper()
	if err := tree.w.WriteHeader(h); err != nil {
		tree.t.Fatal(err)
	}
}

func (tree *tarTree) dir(name string, pax map[string]string) {
	tree.t.Helper()
	tree.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, PAXRecords: pax})
}

func (tree *tarTree) file(name string) {
	tree.t.Helper()
	tree.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644})
}

func (tree *tarTree) commit(repo string) string {
	tree.t.Helper()
	if err := tree.w.Close(); err != nil {
		tree.t.Fatal(err)
	}
	return ostree(tree.t, tree.buf.Bytes(), "commit", "--repo="+repo, "--orphan", "--no-bindings", "--tree=tar=-")
}

// treeOfSize returns the names of files, or of directories, whose dirtree has size bytes, or as
// near as one gets.
func treeOfSize(t *testing.T, dirs bool, size int) []string {
	t.Helper()
	var names []string
	marshalled := func() int {
		var tree objects.DirTree
		for _, name := range names {
			if dirs {
				tree.Dirs = append(tree.Dirs, objects.TreeDir{Name: name})
			} else {
				tree.Files = append(tree.Files, objects.TreeFile{Name: name})
			}
		}
		return len(tree.Marshal())
	}
	for marshalled()+300 < size {
		names = append(names, fmt.Sprintf("%05d%s", len(names), strings.Repeat("n", 180)))
	}
	for marshalled()+60 < size {
		names = append(names, fmt.Sprintf("%05d", len(names)))
	}
	for len(names) > 0 && marshalled() < size && len(names[len(names)-1]) < 255 {
		names[len(names)-1] += "x"
	}
	if len(names) == 0 {
		t.Fatalf("a dirtree of %d bytes can't be made", size)
	}
	return names
}

// TestRealTrees decodes what the ostree command wrote around the limits at which offsets get wider.
func TestRealTrees(t *testing.T) {
	repo := newRepo(t)
	tree := newTarTree(t)
	for _, limit := range []struct{ from, to int }{{150, 300}, {65525, 65550}} {
		for size := limit.from; size <= limit.to; size++ {
			for _, dirs := range []bool{false, true} {
				parent := fmt.Sprintf("size-%d-dirs-%v", size, dirs)
				tree.dir(parent+"/", nil)
				for _, name := range treeOfSize(t, dirs, size) {
					if dirs {
						tree.dir(parent+"/"+name+"/", nil)
					} else {
						tree.file(parent + "/" + name)
					}
				}
			}
		}
	}
	for _, size := range []int{0, 1, 3, 65400, 65535, 100000} {
		tree.dir(fmt.Sprintf("xattr-%d/", size), map[string]string{"SCHILY.xattr.user.x": strings.Repeat("v", size)})
	}
	for size := 200; size < 270; size++ {
		tree.dir(fmt.Sprintf("xattr-%d/", size), map[string]string{"SCHILY.xattr.user.x": strings.Repeat("v", size)})
	}
	tree.commit(repo)

	sizes := roundTripAll(t, repo)
	for _, size := range []int{254, 255, 257, 65534, 65535, 65538} {
		if sizes[objects.KindDirTree][size] == 0 {
			t.Errorf("no dirtree of %d bytes was checked: the sweep misses the limit", size)
		}
	}
	if n := len(sizes[objects.KindDirMeta]); n < 70 {
		t.Errorf("only %d sizes of dirmeta objects were checked", n)
	}
}

// TestRealXattrs is about directories with several attributes, which must be sorted.
func TestRealXattrs(t *testing.T) {
	repo, dir := newRepo(t), t.TempDir()
	for _, name := range []string{"user.b", "user.a", "user.a.b", "user.c"} {
		if out, err := exec.Command(needs.Tool(t, "setfattr"), "-n", name, "-v", "value of "+name, dir).CombinedOutput(); err != nil {
			t.Fatalf("setfattr: %v: %s", err, out)
		}
	}
	ostree(t, nil, "commit", "--repo="+repo, "--orphan", "--no-bindings", "--tree=dir="+dir)
	roundTripAll(t, repo)
}

// TestRealCommits decodes commits with metadata of many types, and sizes around the limits.
func TestRealCommits(t *testing.T) {
	repo := newRepo(t)
	root := newTarTree(t).commit(repo)
	commit := func(args ...string) {
		t.Helper()
		ostree(t, nil, append([]string{"commit", "--repo=" + repo, "--orphan", "--no-bindings", "--tree=ref=" + root}, args...)...)
	}
	commit()
	commit("--subject=a subject", "--body=a body\nof two lines", "--timestamp=@0", "--parent="+root)
	commit("--subject=ünïcödé", "--timestamp=@4102444800")
	for _, value := range []string{
		"'text'", "''", "true", "false", "byte 7", "uint16 1", "1", "uint32 5", "uint64 18446744073709551615", "3.5",
		"@as []", "['a', '', 'ccc']", "b'bytes'", "@ay []", "@a{su} {}", "{'a': uint32 1, 'bcd': 2}", "<'v'>", "@mi nothing",
		"@ms 'x'", "('a', 1, true)", "{'a': <1>, 'b': <{'c': <'d'>}>}", "@a(say) []", "()", "objectpath '/a'", "signature 'a{sv}'",
	} {
		commit("--add-metadata=a="+value, "--add-metadata=key=uint32 1", "--add-metadata=z="+value)
	}
	for _, span := range []struct{ from, to int }{{60, 260}, {65360, 65440}, {130000, 130001}} {
		for size := span.from; size <= span.to; size += 3 {
			commit("--add-metadata-string=key=" + strings.Repeat("v", size))
		}
	}
	if sizes := roundTripAll(t, repo); len(sizes[objects.KindCommit]) < 40 {
		t.Errorf("only %d sizes of commits were checked", len(sizes[objects.KindCommit]))
	}
}

// TestUnsortedCommit is about what other programs write: it is understood, although Marshal would
// sort it.
func TestUnsortedCommit(t *testing.T) {
	repo := newRepo(t)
	root := newTarTree(t).commit(repo)
	sum := ostree(t, nil, "commit", "--repo="+repo, "--orphan", "--no-bindings", "--tree=ref="+root,
		"--add-metadata-string=z=1", "--add-metadata-string=a=2")
	b, err := os.ReadFile(filepath.Join(repo, "objects", sum[:2], sum[2:]+".commit"))
	if err != nil {
		t.Fatal(err)
	}
	commit, err := objects.ParseCommit(b)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"z": "1", "a": "2"} {
		if got, ok := commit.Metadata[key].AsString(); !ok || got != want {
			t.Errorf("%s is %q, %v instead of %q", key, got, ok, want)
		}
	}
}

// roundTripAll decodes and encodes every metadata object of repo, and returns how many there are of
// each size.
func roundTripAll(t *testing.T, repo string) map[objects.Kind]map[int]int {
	t.Helper()
	sizes := make(map[objects.Kind]map[int]int)
	err := filepath.WalkDir(filepath.Join(repo, "objects"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		kind := objects.Kind(strings.TrimPrefix(filepath.Ext(path), "."))
		if kind == objects.KindFile {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		again, err := roundTrip(kind, b)
		switch {
		case err != nil:
			t.Errorf("%s of %d bytes: %v", kind, len(b), err)
		case !bytes.Equal(again, b):
			t.Errorf("%s of %d bytes: encoded again it is %d bytes, and differs", kind, len(b), len(again))
		}
		name := filepath.Base(filepath.Dir(path)) + strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if sum := objects.ChecksumOf(again).String(); sum != name {
			t.Errorf("%s %s: the checksum is %s", kind, name, sum)
		}
		if sizes[kind] == nil {
			sizes[kind] = make(map[int]int)
		}
		sizes[kind][len(b)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

func roundTrip(kind objects.Kind, b []byte) ([]byte, error) {
	switch kind {
	case objects.KindDirTree:
		tree, err := objects.ParseDirTree(b)
		return tree.Marshal(), err
	case objects.KindDirMeta:
		meta, err := objects.ParseDirMeta(b)
		return meta.Marshal(), err
	case objects.KindCommit:
		commit, err := objects.ParseCommit(b)
		return commit.Marshal(), err
	}
	return nil, fmt.Errorf("an object of kind %q is not expected", kind)
}
