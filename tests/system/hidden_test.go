//go:build system

package system

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// hiddenFiles makes an image and broken credentials in places that the unit hides from the daemon,
// for a user who has them alone.
func hiddenFiles(t *testing.T, reference, user, dir string) {
	t.Helper()
	run(t, "install", "-d", "--mode=700", "--owner="+user, dir)
	t.Cleanup(func() { os.RemoveAll(dir) })
	run(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", reference, "oci:"+dir+"/image:1")
	run(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", reference, "docker-archive:"+dir+"/image.tar:x:1")
	writeFile(t, dir+"/auth.json", "no JSON", 0o600, 0, 0)
	run(t, "chown", "-R", user, dir)
	run(t, "chmod", "-R", "go=", dir)
}

// Callers' files in /root, /home and /tmp are used, with the rights of the caller, although the
// unit hides them.
func TestPathsThatTheUnitHides(t *testing.T) {
	pushed := newSite(t).push(t, "hidden:1", demanding)
	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	grant(t, "games", "org.ostree.import1.import-untrusted")
	for _, test := range []struct{ user, dir string }{
		{"root", "/root/hidden"}, {"root", "/tmp/hidden"}, {"root", "/var/tmp/hidden"}, {"games", "/home/hidden"},
	} {
		t.Run(test.user+" in "+test.dir, func(t *testing.T) {
			hiddenFiles(t, pushed.reference, test.user, test.dir)
			ctl := func(args ...string) (string, error) {
				return try("runuser", append([]string{"--user=" + test.user, "--", "ostree-importctl", "--quiet"}, args...)...)
			}
			for _, image := range []string{"oci:" + test.dir + "/image:1", "docker-archive:" + test.dir + "/image.tar:x:1"} {
				if output, err := ctl("pull", image); err != nil {
					t.Errorf("pull %s: %v: %s", image, err, output)
				}
			}
			output, err := ctl("pull", pushed.reference, "--authfile="+test.dir+"/auth.json")
			if err == nil || !strings.Contains(output, "is not JSON") {
				t.Errorf("the credentials are not read: %v: %s", err, output)
			}
		})
	}
}

// Another user's image stays closed, whatever root's daemon could open.
func TestFilesThatTheCallerCannotOpen(t *testing.T) {
	pushed := newSite(t).push(t, "closed:1", noise("usr/lib/blob", 4096))
	grant(t, "games", "org.ostree.import1.import-untrusted")
	hiddenFiles(t, pushed.reference, "root", "/home/closed")
	output, err := try("runuser", "--user=games", "--", "ostree-importctl", "--quiet", "pull", "oci:/home/closed/image:1")
	if err == nil {
		t.Errorf("it is imported: %s", output)
	}
}

// What is exported to /tmp is in the caller's /tmp, or the export is refused.
func TestExportToPathsThatTheUnitHides(t *testing.T) {
	pushed := newSite(t).push(t, "exported-hidden:1", demanding)
	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	for _, dir := range []string{"/tmp/export", "/root/export", "/var/tmp/export"} {
		run(t, "install", "-d", dir)
		t.Cleanup(func() { os.RemoveAll(dir) })
		for _, to := range []string{"tar:" + dir + "/o.tar", "squashfs:" + dir + "/o.squashfs", "oci:" + dir + "/layout:1", "oci-archive:" + dir + "/a.tar"} {
			run(t, "ostree-importctl", "--quiet", "export", pushed.reference, to)
		}
		for _, name := range []string{"o.tar", "o.squashfs", "layout/index.json", "a.tar"} {
			if _, err := os.Stat(dir + "/" + name); err != nil {
				t.Error(err)
			}
		}
		output, err := try("busctl", "call", "org.ostree.import1", rootPath, managerInterface, "Export", "ssa{sv}",
			pushed.reference, "tar:"+dir+"/refused.tar", "1", "wait", "b", "true")
		if err == nil || !strings.Contains(output, "the daemon cannot write") {
			t.Errorf("without a descriptor: %v: %s", err, output)
		}
		if _, err := os.Stat(dir + "/refused.tar"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
