package export_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// What lies beside the destination is replaced only if an export wrote it.
func TestForeignConfigStays(t *testing.T) {
	needs.Capable(t, "extended attributes")
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	none := root
	none.Config = nil
	for name, foreign := range map[string]func(path string) error{
		"a file":         func(path string) error { return os.WriteFile(path, []byte("mine"), 0o644) },
		"an empty file":  func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"another config": func(path string) error { return os.WriteFile(path, []byte(`{"rootfs":{"type":"layers"}}`), 0o644) },
		"a link":         func(path string) error { return os.Symlink("elsewhere", path) },
		"a link to a file": func(path string) error {
			return errors.Join(os.WriteFile(filepath.Dir(path)+"/target", []byte("mine"), 0o644), os.Symlink("target", path))
		},
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":      func(path string) error { return unix.Mkfifo(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, foreign(filepath.Join(dir, "file.config.json")))
			before := files(t, dir)
			for _, r := range []export.Root{root, none} {
				_, err := export.WriteRoot(t.Context(), r, destination(export.Tar, filepath.Join(dir, "file")), nil)
				if !errors.Is(err, export.ErrForeignConfig) {
					t.Errorf("error %v", err)
				}
			}
			if after := files(t, dir); after != before {
				t.Errorf("before: %s, after: %s", before, after)
			}
		})
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file.config.json"), root.Config, 0o644))
	write(t, root, export.Tar, filepath.Join(dir, "file")) // the same is as good as our own
	write(t, none, export.Tar, filepath.Join(dir, "file"))
	if got := files(t, dir); got != "file" {
		t.Errorf("files: %s", got)
	}
}

// A process whose umask is strict makes files that nobody else can read.
func TestUmaskIsKept(t *testing.T) {
	needs.Capable(t, "extended attributes")
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for umask, want := range map[int]os.FileMode{0o077: 0o600, 0o027: 0o640, 0o022: 0o644, 0: 0o644} {
		unix.Umask(umask)
		file := filepath.Join(t.TempDir(), "file")
		write(t, root, export.Tar, file)
		for _, path := range []string{file, file + ".config.json"} {
			info, err := os.Stat(path)
			must(t, err)
			if info.Mode() != want {
				t.Errorf("umask %#o: %s has mode %s", umask, path, info.Mode())
			}
		}
	}
}

// A file that somebody else could have written is not taken for an export.
func TestForgedExport(t *testing.T) {
	needs.Root(t)
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	file := filepath.Join(t.TempDir(), "file")
	for name, forge := range map[string]func() error{
		"another owner": func() error { return os.Chown(file, 65534, 65534) },
		"writable":      func() error { return os.Chmod(file, 0o666) },
	} {
		write(t, root, export.Tar, file)
		must(t, forge())
		if res := write(t, root, export.Tar, file); res.Cached {
			t.Errorf("%s: it counts as an export", name)
		}
	}
}

func TestInRepository(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(root.Repo.Path()+"/tmp", link))
	for _, dir := range []string{root.Repo.Path(), root.Repo.Path() + "/objects", link} {
		_, err := export.WriteRoot(t.Context(), root, destination(export.Tar, dir+"/file"), nil)
		if !errors.Is(err, dirfd.ErrInRepository) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
