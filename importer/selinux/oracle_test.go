package selinux

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// The oracle is `ostree commit --selinux-policy`.

const (
	dir     = unix.S_IFDIR | 0o755
	file    = unix.S_IFREG | 0o644
	symlink = unix.S_IFLNK | 0o777
)

// newRepo makes a repository that does not wait for the disk.
func newRepo(t testing.TB, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatalf("%v: is ostree installed? apt-get install ostree", err)
	}
	ostree(t, repo, "config", "set", "core.fsync", "false")
	return repo
}

// ostree runs an ostree command on a repository and gives what it printed.
func ostree(t testing.TB, repo *ostreerepo.Repo, subcommand string, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "ostree"), append([]string{subcommand, "--repo=" + repo.Path()}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	return string(out)
}

// paths are what a tree holds: absolute paths with their modes. The directories above them need not
// be named.
type paths map[string]uint32

func (p paths) add(mode uint32, names ...string) paths {
	for _, name := range names {
		p[name] = mode
	}
	return p
}

// policyDir writes a policy below a new directory, as a deployment has it. files are those in
// contexts/files.
func policyDir(t testing.TB, files map[string]string) string {
	t.Helper()
	all := map[string]string{"config": "SELINUX=enforcing\nSELINUXTYPE=test\n", "test/policy/policy.33": "binary"}
	for name, text := range files {
		all["test/contexts/files/"+name] = text
	}
	return writeFiles(t, "usr/etc/selinux", all)
}

// writeFiles writes files below a directory in a new root, and gives the root.
func writeFiles(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// commitDir commits a directory, and gives the root of the tree.
func commitDir(t testing.TB, repo *ostreerepo.Repo, root string) objects.TreeDir {
	t.Helper()
	return treeOf(t, repo, ostree(t, repo, "commit", "--branch=policy", "--tree=dir="+root))
}

func treeOf(t testing.TB, repo *ostreerepo.Repo, output string) objects.TreeDir {
	t.Helper()
	c, err := objects.ParseChecksum(strings.TrimSpace(output))
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	return objects.TreeDir{Tree: commit.Tree, Meta: commit.Meta}
}

// load loads the policy of a directory.
func load(t testing.TB, repo *ostreerepo.Repo, root string) *Policy {
	t.Helper()
	p, err := Load(t.Context(), repo, commitDir(t, repo, root).Tree)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func staging(t testing.TB, repo *ostreerepo.Repo) *ostreerepo.Staging {
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

// landTree makes a commit of empty files and sets the ref "tree".
func landTree(t testing.TB, repo *ostreerepo.Repo, p paths) objects.TreeDir {
	t.Helper()
	st := staging(t, repo)
	tree := (&builder{TB: t, st: st}).build(p)
	c, err := st.WriteCommit(objects.Commit{Tree: tree.Tree, Meta: tree.Meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetRef("tree", c); err != nil {
		t.Fatal(err)
	}
	if err := st.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tree
}

// builder writes a tree.
type builder struct {
	testing.TB
	st *ostreerepo.Staging
}

type node struct {
	mode     uint32
	children map[string]*node
}

func (b *builder) build(p paths) objects.TreeDir {
	root := &node{mode: dir, children: map[string]*node{}}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		n := root
		for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
			if part == "" {
				continue
			}
			n.mode = dir
			if n.children[part] == nil {
				n.children[part] = &node{mode: dir, children: map[string]*node{}}
			}
			n = n.children[part]
		}
		if len(n.children) == 0 {
			n.mode = p[name]
		}
	}
	return b.dir(root)
}

func (b *builder) must(c objects.Checksum, err error) objects.Checksum {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *builder) dir(n *node) objects.TreeDir {
	var t objects.DirTree
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		switch child.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			d := b.dir(child)
			d.Name = name
			t.Dirs = append(t.Dirs, d)
		case unix.S_IFLNK:
			c := b.must(b.st.WriteSymlink(objects.FileHeader{Mode: child.mode, Target: "x"}))
			t.Files = append(t.Files, objects.TreeFile{Name: name, Checksum: c})
		default:
			c := b.must(b.st.WriteFile(objects.FileHeader{Mode: child.mode}, 0, strings.NewReader("")))
			t.Files = append(t.Files, objects.TreeFile{Name: name, Checksum: c})
		}
	}
	return objects.TreeDir{Tree: b.must(b.st.WriteDirTree(t)), Meta: b.must(b.st.WriteDirMeta(objects.DirMeta{Mode: n.mode}))}
}

// oracle has ostree label the tree of a ref.
func oracle(t testing.TB, repo *ostreerepo.Repo, policy, ref string) objects.TreeDir {
	t.Helper()
	return treeOf(t, repo, ostree(t, repo, "commit", "--branch=labelled", "--tree=ref="+ref,
		"--selinux-policy="+policy))
}

// labelled is what a tree has at a path.
type labelled struct {
	mode  uint32
	label string // with what is at its end; "" for none
}

// labels reads a tree.
func labels(t testing.TB, trees interface {
	Reader
	DirMeta(objects.Checksum) (objects.DirMeta, error)
}, tree objects.TreeDir,
) map[string]labelled {
	t.Helper()
	all := map[string]labelled{}
	var walk func(d objects.TreeDir, at string)
	walk = func(d objects.TreeDir, at string) {
		m, err := trees.DirMeta(d.Meta)
		if err != nil {
			t.Fatal(err)
		}
		all[at] = labelled{m.Mode, labelOf(t, m.Xattrs)}
		entries, err := trees.DirTree(d.Tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range entries.Files {
			h, content, err := trees.OpenFile(f.Checksum)
			if err != nil {
				t.Fatal(err)
			}
			if err := content.Close(); err != nil {
				t.Fatal(err)
			}
			all[path.Join(at, f.Name)] = labelled{h.Mode, labelOf(t, h.Xattrs)}
		}
		for _, child := range entries.Dirs {
			walk(child, path.Join(at, child.Name))
		}
	}
	walk(tree, "/")
	return all
}

func labelOf(t testing.TB, x objects.Xattrs) string {
	t.Helper()
	label := ""
	for _, attr := range x {
		if attr.Name == XattrName {
			if label != "" {
				t.Errorf("two labels: %q", x)
			}
			label = string(attr.Value)
		}
	}
	return label
}

// compare asserts that the policy gives what ostree gave.
func compare(t testing.TB, p *Policy, want map[string]labelled) {
	t.Helper()
	differ := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w := want[name]
		x, ok := p.Xattr(name, w.mode)
		text, okText := p.Label(name, w.mode)
		if string(x.Value) == w.label && ok == okText && ok == (w.label != "") && text == strings.TrimSuffix(w.label, "\x00") {
			continue
		}
		if differ++; differ <= 20 {
			t.Errorf("%q (%o): label %q (%t), ostree gives %q", name, w.mode, x.Value, ok, w.label)
		}
	}
	if differ > 20 {
		t.Errorf("%d of %d labels differ", differ, len(want))
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// ostreeTakes tells whether ostree can label a tree by a policy.
func ostreeTakes(t testing.TB, repo *ostreerepo.Repo, policy string) bool {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "ostree"), "commit", "--repo="+repo.Path(), "--branch=labelled", "--tree=ref=tree", "--selinux-policy="+policy)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	return err == nil
}
