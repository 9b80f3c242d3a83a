package destination_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/destination"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

const version = "Directory Transport Version: 1.1\n"

// tree makes a directory of files, by their names.
func tree(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image is a directory that another program has written, as "made" in the directory that is
// returned.
func image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	tree(t, dir+"/made", map[string]string{"version": version, "manifest.json": "{}", strings.Repeat("0", 64): "blob"})
	return dir
}

func put(t testing.TB, path string, kind destination.Kind, dir string) error {
	p, err := destination.Open(path, kind, nil)
	if err != nil {
		return err
	}
	return errors.Join(p.Put(t.Context(), dir, "made"), p.Close())
}

// names lists a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestImageDir(t *testing.T) {
	from := image(t)
	want := names(t, from+"/made")
	for name, files := range map[string]map[string]string{
		"new": nil, "empty": {}, "an image": {"version": version, "manifest.json": "old", strings.Repeat("f", 64): "old", "signature-1": ""},
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			if files != nil {
				tree(t, above+"/image", files)
			}
			must(t, put(t, above+"/image", destination.ImageDir, from))
			if got := names(t, above+"/image"); got != want || names(t, above) != "image" {
				t.Errorf("the directory has %q, the one above %q", got, names(t, above))
			}
			if got, err := os.ReadFile(above + "/image/manifest.json"); err != nil || string(got) != "{}" {
				t.Errorf("the manifest is %q, %v", got, err)
			}
		})
	}
}

func TestFile(t *testing.T) {
	from := t.TempDir()
	tree(t, from, map[string]string{"made": "new"})
	above := t.TempDir()
	must(t, os.Symlink(from+"/made", above+"/link"))
	tree(t, above, map[string]string{"old": "old"})
	for _, name := range []string{"new", "old", "link"} {
		must(t, put(t, filepath.Join(above, name), destination.File, from))
		if got, err := os.ReadFile(filepath.Join(above, name)); err != nil || string(got) != "new" {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if info, err := os.Lstat(above + "/link"); err != nil || !info.Mode().IsRegular() || names(t, above) != "link new old" {
		t.Errorf("%v, %v; %q", info, err, names(t, above))
	}
}

func TestRefusals(t *testing.T) {
	from := image(t)
	above := t.TempDir()
	fixture.MustRun(t, "ostree", "init", "--mode=archive", "--repo="+above+"/repo")
	tree(t, above+"/own", map[string]string{"version": version, "notes.txt": "mine"})
	tree(t, above+"/versionless", map[string]string{"manifest.json": ""})
	tree(t, above+"/other", map[string]string{"version": "1.0\n"})
	must(t, os.MkdirAll(above+"/nested/"+strings.Repeat("0", 64), 0o755))
	tree(t, above, map[string]string{"file": ""})
	must(t, os.Symlink("own", above+"/link"))
	before := names(t, above)
	for _, test := range []struct {
		name string
		kind destination.Kind
		want string
	}{
		{"own", destination.ImageDir, "neither empty nor an image"},
		{"versionless", destination.ImageDir, "neither empty nor an image"},
		{"other", destination.ImageDir, "neither empty nor an image"},
		{"nested", destination.ImageDir, "neither empty nor an image"},
		{"file", destination.ImageDir, "no directory"},
		{"link", destination.ImageDir, "no directory"},
		{"own", destination.File, "no file"},
		{"none/image", destination.ImageDir, "no such file or directory"},
		{"none/image", destination.File, "no such file or directory"},
	} {
		err := put(t, filepath.Join(above, test.name), test.kind, from)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	for _, path := range []string{"repo", "repo/image", "repo/objects/x"} {
		for _, kind := range []destination.Kind{destination.ImageDir, destination.File} {
			if err := put(t, filepath.Join(above, path), kind, from); err == nil || strings.Contains(path, "/") && !errors.Is(err, dirfd.ErrInRepository) {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if after := names(t, above); after != before {
		t.Errorf("the directory had %q, it has %q", before, after)
	}
}

// TestForeignLinks wants no link followed that the other program leaves in place of a file.
func TestForeignLinks(t *testing.T) {
	for name, plant := range map[string]func(dir string) error{
		"the directory": func(dir string) error { return os.Rename(dir+"/made", dir+"/x") },
		"a file":        func(dir string) error { return os.Remove(dir + "/made/manifest.json") },
	} {
		from, above := image(t), t.TempDir()
		must(t, plant(from))
		if name == "a file" {
			must(t, os.Symlink("/etc/passwd", from+"/made/manifest.json"))
		} else {
			must(t, os.Symlink("x", from+"/made"))
		}
		if err := put(t, above+"/image", destination.ImageDir, from); err == nil || names(t, above) != "" {
			t.Errorf("%s: %v; there is %q", name, err, names(t, above))
		}
	}
}

// TestHostileOwner wants nothing written, replaced or deleted outside of a destination whose owner
// swaps what is in it for links.
func TestHostileOwner(t *testing.T) {
	needs.Capable(t, "renameat2")
	const rounds = 100
	from := image(t)
	dir := t.TempDir()
	swapper := fixture.StartSwapper(t, dir, ".ostree-importd-", ".new.ostree-importd-", "image")
	done := 0
	for range rounds {
		if put(t, dir+"/image", destination.ImageDir, from) == nil {
			done++
		}
		swapper.Check(t)
	}
	if swapper.Check(t) == 0 {
		t.Error("nothing was swapped")
	}
	t.Logf("%d of %d images were put there", done, rounds)
}
