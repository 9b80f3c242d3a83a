package dirfd_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

// TestStaysInside tries names that lead elsewhere.
func TestStaysInside(t *testing.T) {
	base := t.TempDir()
	must(t, os.MkdirAll(base+"/dir/sub", 0o755))
	must(t, os.Mkdir(base+"/outside", 0o755))
	must(t, os.WriteFile(base+"/outside/file", nil, 0o600))
	must(t, os.WriteFile(base+"/dir/file", nil, 0o600))
	must(t, os.Symlink("../outside", base+"/dir/up"))
	must(t, os.Symlink(base+"/outside/file", base+"/dir/link"))
	must(t, os.Symlink("sub", base+"/dir/inside"))
	must(t, unix.Mkfifo(base+"/dir/pipe", 0o600))
	d := open(t, base+"/dir")
	for _, name := range []string{"up", "link", "inside", "..", "../outside", "sub/../../outside", "/", base + "/outside", "up/file", ""} {
		if f, err := d.OpenFile(name, os.O_RDONLY, 0); err == nil {
			t.Errorf("%q can be opened", name)
			f.Close()
		}
		if f, err := d.OpenDir(name); err == nil {
			t.Errorf("%q can be opened as a directory", name)
			f.Close()
		}
	}
	for _, name := range []string{"../outside/file", "up/file", base + "/outside/file", "..", ""} {
		if err := d.Remove(name); err == nil {
			t.Errorf("%q can be removed", name)
		}
		if err := d.Rename("file", d, name); err == nil {
			t.Errorf("the file can be called %q", name)
		}
		if err := d.Rename(name, d, "new"); err == nil {
			t.Errorf("%q can be renamed", name)
		}
		if err := d.Mkdir(name, 0o700); err == nil {
			t.Errorf("%q can be made", name)
		}
		if _, err := d.Stat(name); err == nil {
			t.Errorf("%q can be asked for", name)
		}
	}
	pipe, err := d.OpenFile("pipe", os.O_RDONLY, 0) // does not wait for a writer
	must(t, err)
	must(t, pipe.Close())
	must(t, d.Clear())
	if _, err := os.Stat(base + "/outside/file"); err != nil {
		t.Error(err)
	}
	if names, err := d.Names(); err != nil || len(names) > 0 {
		t.Errorf("left: %q, %v", names, err)
	}
}

// TestHeldDirectory moves a directory away and puts another one in its place.
func TestHeldDirectory(t *testing.T) {
	base := t.TempDir()
	parent := open(t, base)
	d, err := parent.MakeDir("dir", 0o700)
	must(t, err)
	defer d.Close()
	must(t, os.Rename(base+"/dir", base+"/moved"))
	must(t, os.Mkdir(base+"/dir", 0o755))
	f, err := d.OpenFile("file", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	must(t, f.Close())
	if _, err := os.Stat(base + "/moved/file"); err != nil {
		t.Error(err)
	}
	if parent.Holds("dir", d) || !parent.Holds("moved", d) {
		t.Error("the directory is not known again")
	}
	if _, err := parent.MakeDir("dir", 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
}

func TestRefuseRepository(t *testing.T) {
	base := t.TempDir()
	must(t, os.MkdirAll(base+"/sysroot/ostree/repo/objects/ab", 0o755))
	must(t, os.MkdirAll(base+"/sysroot/ostree/repo/refs/heads/deep", 0o755))
	must(t, os.WriteFile(base+"/sysroot/ostree/repo/config", nil, 0o644))
	must(t, os.MkdirAll(base+"/almost/refs", 0o755))
	must(t, os.WriteFile(base+"/almost/config", nil, 0o644))
	must(t, os.Symlink("sysroot/ostree/repo/tmp", base+"/link"))
	must(t, os.Mkdir(base+"/sysroot/ostree/repo/tmp", 0o755))
	for path, refused := range map[string]bool{
		"": false, "sysroot": false, "sysroot/ostree": false, "almost": false, "almost/refs": false,
		"sysroot/ostree/repo": true, "sysroot/ostree/repo/objects/ab": true, "sysroot/ostree/repo/refs/heads/deep": true, "link": true,
	} {
		if err := open(t, filepath.Join(base, path)).RefuseRepository(); errors.Is(err, dirfd.ErrInRepository) != refused || !refused && err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
