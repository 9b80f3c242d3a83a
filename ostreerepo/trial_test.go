package ostreerepo_test

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestTrial: a trial gives the checksums of what a staging writes, reads it back, and changes
// nothing on the disk.
func TestTrial(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			st := newStaging(t, repo)
			plain := objects.FileHeader{Mode: unix.S_IFREG | 0o644}
			large := strings.Repeat("large ", 1<<20)
			small := check(t)(st.WriteFile(plain, 5, strings.NewReader("small")))
			big := check(t)(st.WriteFile(plain, int64(len(large)), strings.NewReader(large)))
			landFiles(t, st, small, big)

			st = newStaging(t, repo)
			before := listing(t, repo)
			trial := repo.NewTrial()
			attrs := objects.Xattrs{
				{Name: "user.b", Value: []byte("2")}, {Name: "user.a", Value: []byte("1")}, {Name: "user.empty"},
			}
			var sums [2][]objects.Checksum
			for i, o := range []ostreerepo.Objects{trial, st} {
				other := objects.FileHeader{Mode: unix.S_IFREG | 0o600, Xattrs: attrs}
				one := check(t)(o.WriteCopy(small, other))
				two := check(t)(o.WriteCopy(big, other))
				again := check(t)(o.WriteCopy(one, objects.FileHeader{Mode: unix.S_IFREG | 0o400}))
				same := check(t)(o.WriteCopy(one, plain))
				link := check(t)(o.WriteSymlink(objects.FileHeader{Mode: unix.S_IFLNK, Target: "x"}))
				meta := check(t)(o.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755, Xattrs: attrs}))
				files := []objects.TreeFile{{Name: "a", Checksum: one}}
				tree := check(t)(o.WriteDirTree(objects.DirTree{Files: files}))
				commit := check(t)(o.WriteCommit(objects.Commit{Tree: tree, Meta: meta, Timestamp: 1}))
				sums[i] = []objects.Checksum{one, two, again, same, link, meta, tree, commit}
				if i == 0 {
					if after := listing(t, repo); after != before {
						t.Errorf("the trial has changed the repository from\n%s\nto\n%s", before, after)
					}
				}
				readBack(t, o, sums[i], large)
			}
			for i := range sums[0] {
				if sums[0][i] != sums[1][i] {
					t.Errorf("object %d is %s in the trial and %s in the staging", i, sums[0][i], sums[1][i])
				}
			}
			if sums[0][3] != small {
				t.Errorf("a copy with the first header is %s, not %s", sums[0][3], small)
			}
		})
	}
}

// check gives what a call gives, and fails the test for its error.
func check(t *testing.T) func(objects.Checksum, error) objects.Checksum {
	return func(c objects.Checksum, err error) objects.Checksum {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// readBack reads what TestTrial has written.
func readBack(t *testing.T, o ostreerepo.Objects, sums []objects.Checksum, large string) {
	t.Helper()
	for i, want := range []string{"small", large, "small", "small", ""} {
		h, content, err := o.OpenFile(sums[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(content)
		if err != nil || string(got) != want {
			t.Errorf("object %d has %d bytes, %v; want %d", i, len(got), err, len(want))
		}
		if i < 2 && (len(h.Xattrs) != 2 || h.Xattrs[0].Name != "user.a") {
			t.Errorf("object %d has the attributes %v", i, h.Xattrs)
		}
		content.Close()
	}
	commit, err := o.Commit(sums[7])
	if err != nil || commit.Tree != sums[6] || commit.Meta != sums[5] {
		t.Errorf("the commit is %v, %v", commit, err)
	}
	if tree, err := o.DirTree(sums[6]); err != nil || tree.Files[0].Checksum != sums[0] {
		t.Errorf("the tree is %v, %v", tree, err)
	}
	if meta, err := o.DirMeta(sums[5]); err != nil || len(meta.Xattrs) != 2 {
		t.Errorf("the dirmeta is %v, %v", meta, err)
	}
}

// landFiles lands files under a ref.
func landFiles(t *testing.T, st *ostreerepo.Staging, files ...objects.Checksum) {
	t.Helper()
	var tree objects.DirTree
	for i, c := range files {
		tree.Files = append(tree.Files, objects.TreeFile{Name: string(rune('a' + i)), Checksum: c})
	}
	root := check(t)(st.WriteDirTree(tree))
	meta := check(t)(st.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o755}))
	landRef(t, st, "files", check(t)(st.WriteCommit(objects.Commit{Tree: root, Meta: meta})))
}

// listing lists the repository's files.
func listing(t *testing.T, repo *ostreerepo.Repo) string {
	t.Helper()
	return runTool(t, "find", repo.Path(), "-printf", "%p %T@ %s\n")
}
