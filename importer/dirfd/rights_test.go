package dirfd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// passed opens a directory as another process would, and gives it with the rights of a user.
func passed(t *testing.T, path string, rights Rights) *Dir {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := OpenFrom(f, &rights)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestRightsOfAUser does everything in directories that the user may and may not write to.
func TestRightsOfAUser(t *testing.T) {
	needs.Root(t)
	rights := Rights{UID: 4242, GID: 4343, Groups: []uint32{4444}}
	for _, test := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
		may      bool
	}{
		{"own", 4242, 0, 0o700, true},
		{"of the group", 0, 4343, 0o770, true},
		{"of a further group", 0, 4444, 0o770, true},
		{"root's", 0, 0, 0o755, false},
		{"root's group", 0, 0, 0o775, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "there"), []byte("x"), 0o600), os.Mkdir(filepath.Join(dir, "sub"), 0o700),
				os.Chown(dir, test.uid, test.gid), os.Chmod(dir, test.mode)); err != nil {
				t.Fatal(err)
			}
			d := passed(t, dir, rights)
			if f, err := d.OpenFile("there", os.O_RDONLY, 0); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("root's file is opened: %v, %v", f, err)
			}
			if _, err := d.OpenDir("sub"); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("root's directory is opened: %v", err)
			}
			for action, err := range changes(d) {
				if test.may != (err == nil) {
					t.Errorf("%s: %v", action, err)
				}
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != map[bool]int{true: 3, false: 2}[test.may] {
				t.Errorf("%v, %v", entries, err)
			}
			if made, err := os.Stat(filepath.Join(dir, "renamed")); test.may && (err != nil || infoStat(made).Uid != 4242) {
				t.Errorf("%v, %v", made, err)
			}
		})
	}
	if uid, _ := new(Dir).Maker(); uid != 0 {
		t.Error("the process has other rights now")
	}
}

func infoStat(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }

// changes makes, renames and removes things, and leaves "renamed".
func changes(d *Dir) map[string]error {
	errs := map[string]error{"mkdir": d.Mkdir("made", 0o755)}
	errs["rmdir"] = d.RemoveDir("made")
	f, err := d.OpenFile("file", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	errs["create"] = err
	if err == nil {
		f.Close()
	}
	errs["rename"] = d.Rename("file", d, "renamed")
	f, err = d.OpenFile("gone", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	errs["create another"] = err
	if err == nil {
		f.Close()
	}
	errs["exchange"] = d.Exchange("gone", d, "renamed")
	errs["remove"] = d.Remove("gone")
	return errs
}

// TestRightsOfSeveralUsers makes files for many users at the same time, and for root between.
func TestRightsOfSeveralUsers(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o1777); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for uid := range uint32(50) {
		d := passed(t, dir, Rights{UID: uid, GID: uid})
		running.Go(func() {
			name := string(rune('a'+uid%26)) + string(rune('a'+uid/26))
			f, err := d.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if info, err := f.Stat(); err != nil || infoStat(info).Uid != uid || infoStat(info).Gid != uid {
				t.Errorf("the file of %d: %v, %v", uid, info, err)
			}
		})
	}
	running.Wait()
}

// A link in a directory that was passed is for the caller's mounts, not for ours.
func TestPassedLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	uid, gid := new(Dir).Maker()
	d := passed(t, dir, Rights{UID: uint32(uid), GID: uint32(gid)})
	if _, err := d.OpenAt("link"); err == nil {
		t.Error("it is followed")
	}
	real, err := d.OpenAt("real")
	if err != nil {
		t.Fatal(err)
	}
	real.Close()
}
