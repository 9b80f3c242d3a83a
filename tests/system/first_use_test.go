//go:build system

package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/dbus"
)

// anotherRepository has the daemon work on a repository that is not there yet, nor the directory
// above it, and that the unit does not name. It gives its path and starts the daemon.
func anotherRepository(t *testing.T) string {
	t.Helper()
	return repositoryBelow(t, "/"+strings.ToLower(t.Name()))
}

// repositoryBelow is anotherRepository below a directory that is not there.
func repositoryBelow(t *testing.T, above string) string {
	t.Helper()
	path := filepath.Join(above, "ostree/repo")
	dropIn(t, fmt.Sprintf("[Service]\nExecStart=\nExecStart=/usr/libexec/ostree-importd --remount-sysroot --repo=%s\n", path))
	t.Cleanup(func() {
		run(t, "systemctl", "stop", unit)
		if err := os.RemoveAll(above); err != nil {
			t.Error(err)
		}
	})
	run(t, "systemctl", "restart", unit)
	return path
}

// pullUnitOf is the unit that a timer starts to pull an image.
func pullUnitOf(t *testing.T, reference string) string {
	t.Helper()
	return run(t, "systemd-escape", "--template=ostree-importd-pull@.service", reference)
}

func TestFirstRun(t *testing.T) {
	pushed := newSite(t).push(t, "first:1", noise("usr/lib/blob", 4096))
	path := anotherRepository(t)
	before := unitProperty(t, "MainPID")
	output, err := try("ostree-importctl", "--quiet", "pull", pushed.reference)
	if err == nil || !strings.Contains(output, path) || !strings.Contains(output, "`ostree-importctl init` makes one") {
		t.Errorf("a pull without a repository: %v: %s", err, output)
	}
	// A timer's pull is not skipped without a word.
	if output, err := try("systemctl", "start", pullUnitOf(t, pushed.reference)); err == nil {
		t.Errorf("the pull unit succeeds without a repository: %s", output)
	}

	for _, want := range []string{"made " + path, path + " is a repository"} {
		if said := run(t, "ostree-importctl", "--quiet", "init"); !strings.HasPrefix(said, want) {
			t.Errorf("init says %q, want %q", said, want)
		}
	}
	if said, err := try("ostree-importctl", "--quiet", "init", "--mode=archive"); err == nil {
		t.Errorf("init of another mode: %s", said)
	}
	commit := lastLine(run(t, "ostree-importctl", "--quiet", "pull", pushed.reference))
	if after := unitProperty(t, "MainPID"); after != before {
		t.Errorf("main process was %s before and is %s now", before, after)
	}
	run(t, "ostree", "--repo="+path, "show", commit)
	run(t, "ostree", "--repo="+path, "fsck", "--quiet")
	run(t, "systemctl", "start", pullUnitOf(t, pushed.reference))
	// Nothing else has become writable for the daemon. (The command would open the destination for it.)
	if output, err := try("busctl", "call", dbus.BusName, rootPath, managerInterface, "Export", "ssa{sv}",
		pushed.reference, "tar:"+filepath.Dir(path)+"/os.tar", "1", "wait", "b", "true"); err == nil {
		t.Errorf("the daemon exports beside the repository: %s", output)
	}
}

// A repository that somebody else makes is used too, without a restart.
func TestRepositoryAppears(t *testing.T) {
	pushed := newSite(t).push(t, "appears:1", noise("usr/lib/blob", 4096))
	path := anotherRepository(t)
	before := unitProperty(t, "MainPID")
	if _, err := try("ostree-importctl", "images"); err == nil {
		t.Error("images are listed without a repository")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "ostree", "init", "--repo="+path, "--mode=bare")
	run(t, "ostree-importctl", "--quiet", "pull", pushed.reference)
	if after := unitProperty(t, "MainPID"); after != before {
		t.Errorf("main process was %s before and is %s now", before, after)
	}
}

// Nothing is made in a place that only the daemon sees: where its unit hides the host's directory,
// or has another one.
func TestNoRepositoryOutOfSight(t *testing.T) {
	for _, above := range []string{"/home/hidden", "/root/hidden", "/tmp/hidden"} {
		t.Run(above, func(t *testing.T) {
			path := repositoryBelow(t, above)
			output, err := try("ostree-importctl", "--quiet", "init")
			if err == nil || !strings.Contains(output, "cannot write "+path+" for you to see") {
				t.Errorf("init: %v: %s", err, output)
			}
			if left, err := filepath.Glob("/run/systemd/inaccessible/dir/*"); err != nil || len(left) > 0 {
				t.Errorf("the directory that stands for hidden ones holds %q, %v", left, err)
			}
		})
	}
}
