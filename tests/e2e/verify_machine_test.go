package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// Where nothing can be written, sound images are good, and nothing is written.
func TestVerifyWritesNothing(t *testing.T) {
	d := newDerived(t)
	disk := fixture.MountExt4(t, 64<<20)
	repo := createIn(t, disk)
	_, plain := d.stage.push(t, "plain", files("a"), files("b"))
	for _, reference := range []string{d.derived, plain} {
		pull := local(t, repo.Path(), "--json", "pull", "--tls-verify=false", reference)
		pulled(t, fixture.Run(t, pull))
	}
	listing := func() string {
		return fixture.MustRun(t, "find", repo.Path(), "-printf", "%p %T@ %C@ %s\n")
	}
	verified := func(t *testing.T, path string) {
		t.Helper()
		before := listing()
		out := fixture.Run(t, local(t, path, "--json", "verify"))
		result := decode[importer.VerifyResult](t, out.Stdout)
		if out.Code != 0 || result.Count(importer.StateGood) != 2 {
			t.Errorf("verify exits %d and says %s%s", out.Code, out.Stdout, out.Stderr)
		}
		if after := listing(); after != before {
			t.Errorf("verify has changed the repository from\n%s\nto\n%s", before, after)
		}
	}
	t.Run("as usual", func(t *testing.T) { verified(t, repo.Path()) })
	t.Run("read-only", func(t *testing.T) {
		readOnly := t.TempDir()
		fixture.MustRun(t, "mount", "--bind", disk, readOnly)
		defer fixture.MustRun(t, "umount", readOnly)
		fixture.MustRun(t, "mount", "-o", "remount,bind,ro", readOnly)
		verified(t, filepath.Join(readOnly, "repo"))
	})
	t.Run("full", func(t *testing.T) {
		filler, err := os.Create(filepath.Join(disk, "filler"))
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		var stat unix.Statfs_t
		if err := unix.Fstatfs(int(filler.Fd()), &stat); err != nil {
			t.Fatal(err)
		}
		// The last blocks are not to be had in one piece.
		for size := int64(stat.Bfree); size > 0; size /= 2 {
			for end := filler; unix.Fallocate(int(end.Fd()), 0, length(t, end), size*stat.Bsize) == nil; {
			}
		}
		verified(t, repo.Path())
	})
}

func length(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What can't be read is not called damaged.
func TestVerifyWithoutRights(t *testing.T) {
	needs.Root(t)
	s := newStage(t, fixture.DaemonOptions{})
	one, other := s.pushTwo(t)
	for _, reference := range []string{one, other} {
		pulled(t, fixture.Run(t, s.pull(t, reference)))
	}
	object := objectAt(t, s.repo, s.show(t, one).Commit, "usr/first")
	if err := os.Chown(object, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(object, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := local(t, s.repo.Path(), "--json", "verify")
	cmd.Args = append([]string{"setpriv", "--inh-caps=-all", "--bounding-set=-all"}, cmd.Args...)
	cmd.Path = needs.Tool(t, "setpriv")
	out := fixture.Run(t, cmd)
	result := decode[importer.VerifyResult](t, out.Stdout)
	unchecked, good := result.Count(importer.StateUnchecked), result.Count(importer.StateGood)
	if out.Code != 5 || unchecked != 1 || good != 1 {
		t.Fatalf("verify exits %d and says %s%s", out.Code, out.Stdout, out.Stderr)
	}
	for _, image := range result.Images {
		affected := image.Reference == one
		if (image.NotChecked != "") != affected || len(image.Damage) > 0 {
			t.Errorf("%+v", image)
		}
	}
	if out := fixture.Run(t, local(t, s.repo.Path(), "verify")); out.Code != 0 {
		t.Errorf("with all rights verify exits %d: %s%s", out.Code, out.Stdout, out.Stderr)
	}
}
