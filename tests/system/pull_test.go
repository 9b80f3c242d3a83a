//go:build system

package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// demanding fills a root file system with what a sandbox that is too tight
// spoils: owners, setuid, setgid and sticky bits, capabilities.
func demanding(t *testing.T, root string) {
	writeFile(t, filepath.Join(root, "usr/bin/suid"), "suid", os.ModeSetuid|0o755, 0, 0)
	// The daemon is in no group of the file: without CAP_FSETID the bit is lost.
	writeFile(t, filepath.Join(root, "usr/bin/sgid"), "sgid", os.ModeSetgid|0o755, 12345, 54321)
	writeFile(t, filepath.Join(root, "usr/bin/capable"), "capable", 0o755, 0, 0)
	run(t, "setcap", "cap_net_raw=ep", filepath.Join(root, "usr/bin/capable"))
	writeFile(t, filepath.Join(root, "usr/share/secret"), "secret", 0o600, 65534, 65534)
	writeFile(t, filepath.Join(root, "etc/config"), "config", 0o640, 0, 12345)
	for path, mode := range map[string]os.FileMode{"usr/tmp": os.ModeSticky | 0o777, "usr/mail": os.ModeSetgid | 0o775} {
		path = filepath.Join(root, path)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, 8); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPullUnderHardening(t *testing.T) {
	pushed := newSite(t).push(t, "demanding:1", demanding, noise("usr/lib/blob", 3<<20))
	commit := run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	run(t, "ostree", "--repo="+repository, "fsck", "--quiet")

	checkout := filepath.Join(t.TempDir(), "checkout")
	run(t, "ostree", "--repo="+repository, "checkout", lastLine(commit), checkout)
	entries := []struct {
		path           string
		mode, uid, gid uint32
	}{
		{"usr/bin/suid", unix.S_IFREG | 0o4755, 0, 0},
		{"usr/bin/sgid", unix.S_IFREG | 0o2755, 12345, 54321},
		{"usr/share/secret", unix.S_IFREG | 0o600, 65534, 65534},
		{"usr/etc/config", unix.S_IFREG | 0o640, 0, 12345},
		{"usr/tmp", unix.S_IFDIR | 0o1777, 0, 8},
		{"usr/mail", unix.S_IFDIR | 0o2775, 0, 8},
	}
	for _, entry := range entries {
		var stat unix.Stat_t
		if err := unix.Lstat(filepath.Join(checkout, entry.path), &stat); err != nil {
			t.Errorf("%s: %v", entry.path, err)
		} else if stat.Mode != entry.mode || stat.Uid != entry.uid || stat.Gid != entry.gid {
			t.Errorf("%s: mode %o owner %d:%d, want mode %o owner %d:%d", entry.path,
				stat.Mode, stat.Uid, stat.Gid, entry.mode, entry.uid, entry.gid)
		}
	}
	if caps := run(t, "getcap", filepath.Join(checkout, "usr/bin/capable")); !strings.HasSuffix(caps, "cap_net_raw=ep") {
		t.Errorf("capabilities of usr/bin/capable: %q", caps)
	}
}

func TestExportUnderHardening(t *testing.T) {
	pushed := newSite(t).push(t, "exported:1", demanding)
	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	dir, err := os.MkdirTemp("/srv", "export-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, destination := range []string{"tar:" + dir + "/os.tar", "squashfs:" + dir + "/os.squashfs", "oci:" + dir + "/layout:os"} {
		run(t, "ostree-importctl", "--quiet", "export", pushed.reference, destination)
	}
	for name, listing := range map[string]string{
		"os.tar":      run(t, "tar", "-tvf", dir+"/os.tar"),
		"os.squashfs": run(t, "unsquashfs", "-ll", dir+"/os.squashfs"),
	} {
		if !strings.Contains(listing, "-rwsr-xr-x") || !strings.Contains(listing, "usr/bin/suid") {
			t.Errorf("%s has no setuid file:\n%s", name, listing)
		}
	}
}

// The proxy parses what the network says, so it must not be root.
func TestProxyIsUnprivileged(t *testing.T) {
	s := newSite(t)
	pushed := s.push(t, "held:1", noise("usr/lib/blob", 1<<20))
	hold := fixture.NewHold()
	s.gateway.Spoil(pushed.layers[0], hold.Fault)
	client := newClient(t)
	id := start(t, client, pushed.reference)
	hold.Arrived(t)
	for _, user := range strings.Fields(run(t, "ps", "-C", "skopeo", "-o", "user:32=")) {
		if user != "ostree-importd" {
			t.Errorf("skopeo runs as %s", user)
		}
	}
	if err := client.Cancel(t.Context(), id); err != nil {
		t.Errorf("cancel: %v", err)
	}
}

func TestPullUnit(t *testing.T) {
	pushed := newSite(t).push(t, "by-timer:1", noise("usr/lib/blob", 4096))
	run(t, "systemctl", "start", run(t, "systemd-escape", "--template=ostree-importd-pull@.service", pushed.reference))
	if images := run(t, "ostree-importctl", "images"); !strings.Contains(images, pushed.reference) {
		t.Errorf("%s is not among the images:\n%s", pushed.reference, images)
	}
}

func TestJournalTellsOfJobs(t *testing.T) {
	pushed := newSite(t).push(t, "journal:1", noise("usr/lib/blob", 4096))
	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	run(t, "journalctl", "--sync")
	// The id is that of a job that succeeded. journalctl fails when nothing matches.
	run(t, "journalctl", "--no-pager", "--quiet", "--grep=^imported .* commit [0-9a-f]{64}$",
		"MESSAGE_ID=0a68cc206360423694a378670a7a6e11", "OSTREE_IMPORT_IMAGE="+pushed.reference)
}
