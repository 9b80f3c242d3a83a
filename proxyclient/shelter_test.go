package proxyclient

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestNewShelter(t *testing.T) {
	needs.Root(t)
	base := reachableDir(t)
	tests := []struct {
		name       string
		dirs       []string
		modes      []os.FileMode
		uids, gids []int
		closed     string
	}{
		{"open", []string{"a", "a/b"}, []os.FileMode{0o755, 0o711}, []int{0, 0}, []int{0, 0}, ""},
		{"topmost of two", []string{"a", "a/b"}, []os.FileMode{0o700, 0o700}, []int{0, 0}, []int{0, 0}, "a"},
		{"lower one", []string{"a", "a/b"}, []os.FileMode{0o755, 0o754}, []int{0, 0}, []int{0, 0}, "a/b"},
		{"owner", []string{"a"}, []os.FileMode{0o700}, []int{65534}, []int{0}, ""},
		{"owner is kept out", []string{"a"}, []os.FileMode{0o077}, []int{65534}, []int{0}, "a"},
		{"group", []string{"a"}, []os.FileMode{0o710}, []int{0}, []int{65534}, ""},
		{"group is kept out", []string{"a"}, []os.FileMode{0o701}, []int{0}, []int{65534}, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, err := os.MkdirTemp(base, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(root, 0o755); err != nil {
				t.Fatal(err)
			}
			dir := root
			for i, name := range tt.dirs {
				dir = filepath.Join(root, name)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(dir, tt.uids[i], tt.gids[i]); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(dir, tt.modes[i]); err != nil {
					t.Fatal(err)
				}
			}
			got, err := newShelter(filepath.Join(dir, "image"), nobody)
			if err != nil {
				t.Fatal(err)
			}
			closed := ""
			if got != nil {
				closed = strings.TrimPrefix(got.closed, root+"/")
			}
			if closed != tt.closed {
				t.Errorf("closed is %q, want %q", closed, tt.closed)
			}
		})
	}
}

// TestShelterShowsImageOnly: what stands beside the image can't be seen, and
// our own mounts are as before.
func TestShelterShowsImageOnly(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	for _, name := range []string{"image", "secret"} {
		writeFile(t, filepath.Join(closed, name, "file"), name)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(closed, "image")
	if err := os.Chmod(filepath.Join(image, "file"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := realConfig(t, nobody)
	checkLeaks(t, cfg.TempDir)
	p, err := start(within(t, time.Minute), cfg.withDefaults(), &target{shelter: &shelter{closed: closed, image: image}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	inChild := filepath.Join("/proc", strconv.Itoa(p.child.process.PID()), "root", closed)
	entries, err := os.ReadDir(inChild)
	if err != nil || len(entries) != 1 || entries[0].Name() != "image" {
		t.Errorf("the child sees %v, %v", entries, err)
	}
	if data, err := os.ReadFile(filepath.Join(inChild, "image", "file")); err != nil || string(data) != "image" {
		t.Errorf("the child reads %q, %v", data, err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || string(after) != string(before) {
		t.Errorf("our mounts changed, %v:\n%s\nwere\n%s", err, after, before)
	}
}

func TestShelterThatCannotBeBuilt(t *testing.T) {
	dir := t.TempDir()
	cfg := realConfig(t, nobody)
	checkLeaks(t, cfg.TempDir)
	_, err := start(within(t, time.Minute), cfg.withDefaults(), &target{shelter: &shelter{closed: dir, image: filepath.Join(dir, "none")}})
	if e := wantClass(t, err, ClassConfig); !strings.Contains(e.Error(), "move the image") {
		t.Error(e)
	}
}

// TestShelterFollowsNoLink: whoever owns a directory of the path can replace
// what is below it, but not so that something else is covered.
func TestShelterFollowsNoLink(t *testing.T) {
	for _, replaced := range []string{"closed", "closed/sub"} {
		t.Run(replaced, func(t *testing.T) {
			dir := t.TempDir()
			closed := filepath.Join(dir, "closed")
			image := filepath.Join(closed, "sub", "image")
			writeFile(t, image, "image")
			writeFile(t, filepath.Join(dir, "other", "image"), "other")
			writeFile(t, filepath.Join(dir, "other", "sub", "image"), "other")
			if err := os.RemoveAll(filepath.Join(dir, replaced)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(dir, "other"), filepath.Join(dir, replaced)); err != nil {
				t.Fatal(err)
			}
			cfg := realConfig(t, nobody)
			checkLeaks(t, cfg.TempDir)
			_, err := start(within(t, time.Minute), cfg.withDefaults(), &target{shelter: &shelter{closed: closed, image: image}})
			if e := wantClass(t, err, ClassConfig); !strings.Contains(e.Error(), "too many levels of symbolic links") {
				t.Error(e)
			}
		})
	}
}
