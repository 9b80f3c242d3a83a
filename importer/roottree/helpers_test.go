package roottree_test

import (
	"archive/tar"
	"errors"

	"io"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commitTree commits a tree and gives the root directory.
func commitTree(t testing.TB, repo *ostreerepo.Repo, nodes map[string]ocimodel.Node) objects.TreeDir {
	t.Helper()
	_, c := fixture.CommitTree(t, repo, nodes)
	return objects.TreeDir{Tree: c.Tree, Meta: c.Meta}
}

// readArchive reads an archive; hard links become "hard link" nodes.
func readArchive(t testing.TB, from io.Reader) (nodes map[string]ocimodel.Node, order []string) {
	t.Helper()
	types := map[byte]ocimodel.Type{tar.TypeDir: ocimodel.Dir, tar.TypeReg: ocimodel.File, tar.TypeSymlink: ocimodel.Symlink, tar.TypeLink: ocimodel.HardLink}
	nodes = map[string]ocimodel.Node{}
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nodes, order
		}
		must(t, err)
		if h.ModTime.Unix() != 0 {
			t.Errorf("%q has the time %v", h.Name, h.ModTime)
		}
		n := ocimodel.Node{Type: types[h.Typeflag], Mode: uint32(h.Mode), UID: h.Uid, GID: h.Gid, Target: h.Linkname}
		if n.Type == ocimodel.File {
			n.Content, err = io.ReadAll(r)
			must(t, err)
		}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				if n.Xattrs == nil {
					n.Xattrs = map[string]string{}
				}
				n.Xattrs[name] = value
			}
		}
		path := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		if _, again := nodes[path]; again {
			t.Errorf("%q is there twice", path)
		}
		nodes[path], order = n, append(order, path)
	}
}

// wrongSource is a repository in which one file's object says that it has another size.
type wrongSource struct {
	*ostreerepo.Repo
	file objects.Checksum
	off  int
}

func (s wrongSource) FileSize(c objects.Checksum) (uint64, error) {
	size, err := s.Repo.FileSize(c)
	if c == s.file {
		size = uint64(int(size) + s.off)
	}
	return size, err
}

// bomb is a source of directories in which each of n levels has two entries for the next: 2^n paths
// out of n objects.
type bomb struct {
	levels int
}

func (b bomb) DirTree(c objects.Checksum) (objects.DirTree, error) {
	level := int(c[0])
	if level >= b.levels {
		return objects.DirTree{}, nil
	}
	next := objects.TreeDir{Tree: bombLevel(level + 1)}
	left, right := next, next
	left.Name, right.Name = "a", "b"
	return objects.DirTree{Dirs: []objects.TreeDir{left, right}}, nil
}

func bombLevel(n int) objects.Checksum { return objects.Checksum{byte(n), 1} }

// chain is a source of directories without end.
type chain struct{}

func (chain) DirTree(c objects.Checksum) (objects.DirTree, error) {
	for i := range c { // the next number
		if c[i]++; c[i] != 0 {
			break
		}
	}
	return objects.DirTree{Dirs: []objects.TreeDir{{Name: "d", Tree: c}}}, nil
}

var errStop = errors.New("stop")
