package importer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestCopyRefusesPlaces is about repositories that root's ostree must not write to.
func TestCopyRefusesPlaces(t *testing.T) {
	needs.Root(t)
	const shared = "another user can replace what is there"
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, []string{"f usr/a 1"})))
	h.mustPull(Request{Image: testName})
	own := func(path string, uid, gid int) func(string) error {
		return func(base string) error { return os.Lchown(filepath.Join(base, path), uid, gid) }
	}
	mode := func(path string, mode os.FileMode) func(string) error {
		return func(base string) error { return os.Chmod(filepath.Join(base, path), mode) }
	}
	for _, test := range []struct {
		name   string
		change func(base string) error
		says   string // "" for a copy that works
	}{
		{"root's", func(string) error { return nil }, ""},
		{"a user's", own("above/repo", 1000, 1000), shared},
		{"in a user's directory", own("above", 1000, 1000), shared},
		{"with a user's objects", own("above/repo/objects", 1000, 1000), shared},
		{"with a user's config", own("above/repo/config", 1000, 0), shared},
		{"writable for all", mode("above/repo", 0o777), shared},
		{"with refs that a group may write", func(base string) error {
			refs := filepath.Join(base, "above/repo/refs")
			return errors.Join(os.Chown(refs, 0, 1000), os.Chmod(refs, 0o775))
		}, shared},
		{"in a directory that all may write", mode("above", 0o777), shared},
		{"in one like /tmp", mode("above", 0o777|os.ModeSticky), ""},
		{"with refs that root's group may write", mode("above/repo/refs", 0o775), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := t.TempDir()
			repo, err := ostreerepo.Create(context.Background(), base+"/above/repo", ostreerepo.ModeArchive, ostreerepo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := test.change(base); err != nil {
				t.Fatal(err)
			}
			_, err = h.im.Copy(context.Background(), CopyRequest{Image: testName, Repository: repo.Path()}, nil)
			if test.says == "" && err != nil || test.says != "" && (KindOf(err) != KindInvalidOption || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("error %v, want %q", err, test.says)
			}
		})
	}
	t.Run("inside another repository", func(t *testing.T) {
		inner, err := ostreerepo.Create(context.Background(), h.repo.Path()+"/extra/repo", ostreerepo.ModeArchive, ostreerepo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(inner.Path(), link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{inner.Path(), link} {
			_, err = h.im.Copy(context.Background(), CopyRequest{Image: testName, Repository: path}, nil)
			if KindOf(err) != KindInvalidOption || !strings.Contains(err.Error(), "lies in an OSTree repository") {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	t.Run("by way of a user's link", func(t *testing.T) {
		repo, err := ostreerepo.Create(context.Background(), t.TempDir()+"/repo", ostreerepo.ModeArchive, ostreerepo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		base := t.TempDir()
		for name, target := range map[string]string{"link": repo.Path(), "above": filepath.Dir(repo.Path()), "own": h.repo.Path()} {
			err := errors.Join(os.Symlink(target, base+"/"+name), os.Lchown(base+"/"+name, 1000, 1000))
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{base + "/link", base + "/above/repo", base + "/own"} {
			_, err = h.im.Copy(context.Background(), CopyRequest{Image: testName, Repository: path, Target: "docker://example.com/y:1"}, nil)
			if KindOf(err) != KindInvalidOption || !strings.Contains(err.Error(), "a symbolic link of another user") {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}
