package systemd

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// install runs "make install" below dest as sudo runs it: with a PATH that has no Go, a umask of
// 077, and as a user for whom the version cannot be found out.
func install(t *testing.T, bin, dest string, more ...string) (output string, err error) {
	t.Helper()
	const script = `umask 077; exec "$0" --no-print-directory --directory=.. "$@"`
	args := []string{
		"-c", script, needs.Tool(t, "make"), "install", "BINDIR=" + bin, "DESTDIR=" + dest, "PREFIX=/usr", "GO=/nowhere/go",
	}
	cmd := exec.Command("sh", append(args, more...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GIT_DIR=/nowhere"}
	raw, err := cmd.CombinedOutput()
	return string(raw), err
}

func TestInstallTakesWhatIsBuilt(t *testing.T) {
	needs.Root(t) // who else installs
	bin, dest := t.TempDir(), t.TempDir()
	built := map[string]string{}
	for _, name := range []string{"ostree-importd", "ostree-importctl"} {
		built[name] = "#!/bin/sh\necho " + name + " of version 1.2.3: \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(built[name]), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := install(t, bin, dest); err != nil {
		t.Fatalf("make install: %v\n%s", err, output)
	}
	for path, want := range map[string]string{
		"libexec/ostree-importd":                                  built["ostree-importd"],
		"bin/ostree-importctl":                                    built["ostree-importctl"],
		"share/bash-completion/completions/ostree-importctl":      "ostree-importctl of version 1.2.3: completion bash\n",
		"share/zsh/site-functions/_ostree-importctl":              "ostree-importctl of version 1.2.3: completion zsh\n",
		"share/fish/vendor_completions.d/ostree-importctl.fish":   "ostree-importctl of version 1.2.3: completion fish\n",
		"lib/systemd/system/dbus-org.ostree.import1.service":      "",
		"share/dbus-1/system-services/org.ostree.import1.service": "",
		"share/dbus-1/system.d/org.ostree.import1.conf":           "",
		"share/polkit-1/actions/org.ostree.import1.policy":        "",
		"share/man/man1/ostree-importctl.1":                       "",
		"lib/systemd/system/ostree-importd-pull@.timer":           "",
		"lib/systemd/system-preset/80-ostree-importd.preset":      "",
		"lib/sysusers.d/ostree-importd.conf":                      "",
		"lib/systemd/catalog/ostree-importd.catalog":              "",
	} {
		raw, err := os.ReadFile(filepath.Join(dest, "usr", path))
		if err != nil || want != "" && string(raw) != want {
			t.Errorf("%s: %v: %q", path, err, raw)
		}
	}
	// What everybody reads must not depend on the umask of who installs.
	err := filepath.WalkDir(filepath.Join(dest, "usr"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestInstallBuildsNothing(t *testing.T) {
	needs.Tool(t, "make")
	bin, dest := filepath.Join(t.TempDir(), "bin"), t.TempDir()
	output, err := install(t, bin, dest)
	if err == nil || !strings.Contains(output, bin+"/ostree-importd is not built: run \"make\" first") {
		t.Errorf("make install without the commands: %v\n%s", err, output)
	}
	if entries, err := os.ReadDir(dest); err != nil || len(entries) > 0 {
		t.Errorf("it has installed %v, %v", entries, err)
	}
}
