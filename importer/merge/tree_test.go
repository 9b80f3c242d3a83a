package merge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// A tree is written as lines:
//
//	d PATH [MODE [UID [XATTR]]]   directory; "." is the root
//	i PATH [MODE [UID [XATTR]]]   the same, but only implied
//	f PATH [CONTENT]              regular file
//	l PATH TARGET                 symbolic link
//
// Parents that no line names are implied as well: 0755, owned by root.

// testRepo is a repository with one staging, as an import has it.
type testRepo struct {
	testing.TB
	repo *ostreerepo.Repo
	refs int
}

func newTestRepo(t testing.TB) *testRepo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(context.Background(), path.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &testRepo{TB: t, repo: repo}
}

// stage runs f with a staging and lands what it has named.
func (r *testRepo) stage(f func(st *ostreerepo.Staging)) {
	r.Helper()
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	f(st)
	r.must(st.Land(context.Background()))
}

// write writes a commit and names it.
func (r *testRepo) write(st *ostreerepo.Staging, c objects.Commit) objects.Checksum {
	r.Helper()
	commit, err := st.WriteCommit(c)
	r.must(err)
	r.refs++
	r.must(st.SetRef(fmt.Sprintf("test/%d", r.refs), commit))
	return commit
}

func (r *testRepo) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// node is a directory while a tree is built.
type node struct {
	meta  objects.DirMeta
	files map[string]objects.Checksum
	dirs  map[string]*node
}

func newNode() *node {
	return &node{meta: objects.DirMeta{Mode: 0o040755}, files: map[string]objects.Checksum{}, dirs: map[string]*node{}}
}

// commit writes and lands a tree as a layer commit.
func (r *testRepo) commit(lines []string) (commit objects.Checksum) {
	r.Helper()
	r.stage(func(st *ostreerepo.Staging) { commit = r.writeTree(st, lines, false) })
	return commit
}

// writeTree writes a tree. Unless foreign, the commit says which directories were implied.
func (r *testRepo) writeTree(st *ostreerepo.Staging, lines []string, foreign bool) objects.Checksum {
	r.Helper()
	root := newNode()
	implied := map[string]bool{"": true}
	for _, line := range lines {
		r.addLine(st, root, implied, strings.Fields(line))
	}
	var metadata objects.Dict
	if names := sortedKeys(implied); len(names) > 0 && !foreign {
		metadata = objects.Dict{layertar.MetaImplied: objects.Strings(names)}
	}
	tree, meta := r.writeNode(st, root)
	return r.write(st, objects.Commit{Metadata: metadata, Tree: tree, Meta: meta})
}

func (r *testRepo) addLine(st *ostreerepo.Staging, root *node, implied map[string]bool, fields []string) {
	r.Helper()
	kind, name, rest := fields[0], strings.TrimPrefix(fields[1], "."), fields[2:]
	if fields[1] != "." {
		name = fields[1]
	}
	parent, at := root, ""
	parts := strings.Split(name, "/")
	if name == "" {
		parts = nil
	}
	base := ""
	for i, part := range parts {
		if i == len(parts)-1 && (kind == "f" || kind == "l") {
			base = part
			break
		}
		at = path.Join(at, part)
		if parent.dirs[part] == nil {
			parent.dirs[part] = newNode()
			implied[at] = true
		}
		parent = parent.dirs[part]
	}
	var err error
	switch kind {
	case "d", "i":
		if kind == "d" {
			delete(implied, at)
		}
		parent.meta = r.dirMeta(rest)
	case "f":
		content := strings.Join(rest, " ")
		parent.files[base], err = st.WriteFile(objects.FileHeader{Mode: 0o100644}, int64(len(content)), strings.NewReader(content))
	case "l":
		parent.files[base], err = st.WriteSymlink(objects.FileHeader{Mode: 0o120777, Target: rest[0]})
	default:
		r.Fatalf("line of kind %q", kind)
	}
	r.must(err)
}

func (r *testRepo) dirMeta(fields []string) objects.DirMeta {
	meta := objects.DirMeta{Mode: 0o040755}
	for i, field := range fields {
		switch i {
		case 0:
			mode, err := strconv.ParseUint(field, 8, 12)
			r.must(err)
			meta.Mode = 0o040000 | uint32(mode)
		case 1:
			uid, err := strconv.ParseUint(field, 10, 32)
			r.must(err)
			meta.UID = uint32(uid)
		case 2:
			meta.Xattrs = objects.Xattrs{{Name: "user.test", Value: []byte(field)}}
		}
	}
	return meta
}

func (r *testRepo) writeNode(st *ostreerepo.Staging, n *node) (tree, meta objects.Checksum) {
	var t objects.DirTree
	for _, name := range sortedKeys(n.files) {
		t.Files = append(t.Files, objects.TreeFile{Name: name, Checksum: n.files[name]})
	}
	for _, name := range sortedKeys(n.dirs) {
		tree, meta := r.writeNode(st, n.dirs[name])
		t.Dirs = append(t.Dirs, objects.TreeDir{Name: name, Tree: tree, Meta: meta})
	}
	tree, err := st.WriteDirTree(t)
	r.must(err)
	meta, err = st.WriteDirMeta(n.meta)
	r.must(err)
	return tree, meta
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// list is what the ostree command says of a commit's tree: types, modes, owners, checksums and
// xattrs.
func (r *testRepo) list(commit objects.Checksum) string {
	r.Helper()
	cmd := exec.Command(needs.Tool(r, "ostree"), "--repo="+r.repo.Path(), "ls", "-R", "-C", "-X", commit.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.Fatalf("ostree ls: %v: %s", err, stderr.String())
	}
	return string(out)
}
