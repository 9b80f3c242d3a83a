package ostreerepo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

func TestFileSize(t *testing.T) {
	contents := []string{"", "some text", strings.Repeat("0123456789", 100000)}
	dir := t.TempDir()
	for i, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			commit, err := repo.Commit(cliCommit(t, repo, "test", dir))
			if err != nil {
				t.Fatal(err)
			}
			tree, err := repo.DirTree(commit.Tree)
			if err != nil {
				t.Fatal(err)
			}
			for i, content := range contents {
				if size, err := repo.FileSize(tree.Files[i].Checksum); err != nil || size != uint64(len(content)) {
					t.Errorf("%d bytes, %v, want %d", size, err, len(content))
				}
			}
			if _, err := repo.FileSize(objects.Checksum{1}); !errors.Is(err, ostreerepo.ErrNoObject) {
				t.Errorf("an object that is not there: %v", err)
			}
			if mode != ostreerepo.ModeArchive {
				return
			}
			name := tree.Files[1].Checksum.String()
			if err := os.Truncate(filepath.Join(repo.Path(), "objects", name[:2], name[2:]+".filez"), 12); err != nil {
				t.Fatal(err)
			}
			if _, err := repo.FileSize(tree.Files[1].Checksum); !errors.Is(err, ostreerepo.ErrCorrupted) {
				t.Errorf("an object that is cut: %v", err)
			}
		})
	}
}

func TestScratch(t *testing.T) {
	st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	path, err := st.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.MkdirAll(filepath.Join(path, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
}
