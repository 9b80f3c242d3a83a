package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// systemRef is the ref of the commit that commitSystem makes.
const systemRef = "test/os"

// systemLayers is how many layers the commit has as an image: its own, those of two packages and of
// the kernel, one for the rest, and the empty chunk.
const systemLayers = 6

// systemFile is a file of a system. One whose path ends with a slash is a directory.
type systemFile struct {
	path           string
	mode           uint32
	uid            int
	content        string
	target, sameAs string // of a symbolic or a hard link
	xattrs         map[string]string
}

// systemFiles are what a commit can hold that an archive finds hard, and a package database by
// which the commit can be parted.
func systemFiles(version string) []systemFile {
	// From this size on a package gets a layer of its own.
	large := func(name string) string { return strings.Repeat(name+" ", 1<<18) }
	const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	const packages = "usr/lib/sysimage/dpkg/info/"
	return []systemFile{
		{path: packages + "library.list", mode: 0o644, content: "/.\n/usr/lib/library.so\n"},
		{path: packages + "tool.list", mode: 0o644, content: "/.\n/usr/bin/tool\n/etc/tool.conf\n"},
		{path: "usr/lib/modules/6.1/vmlinuz", mode: 0o644, content: large("kernel")},
		{path: "usr/lib/library.so", mode: 0o644, content: large("library")},
		{path: "usr/bin/tool", mode: 0o755, content: large("tool " + version)},
		{path: "usr/bin/su", mode: 0o4755, content: "privileged"},
		{path: "usr/bin/ping", mode: 0o755, content: "capable", xattrs: map[string]string{"security.capability": capability, "user.note": "a=b"}},
		{path: "usr/bin/same", sameAs: "usr/bin/ping"},
		{path: "usr/bin/slashes", target: "..//lib//library.so"},
		{path: "usr/lib/os-release", mode: 0o644, content: "VERSION=" + version + "\n"},
		{path: "usr/share/empty", mode: 0o600, uid: 7},
		{path: "usr/share/open/", mode: 0o1777, xattrs: map[string]string{"user.directory": "yes"}},
		{path: "usr/share/doc/manual", mode: 0o644, content: "how to use it"},
		{path: "usr/etc/tool.conf", mode: 0o640, uid: 7, content: "version = " + version},
		{path: "usr/etc/keys/", mode: 0o700},
		{path: "var/", mode: 0o755},
	}
}

// commitSystem makes a commit of systemFiles, always the same one for a version.
func commitSystem(t *testing.T, repo *ostreerepo.Repo, version string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range systemFiles(version) {
		if err := f.make(root); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(fixture.MustRun(t, "ostree", "--repo="+repo.Path(), "commit", "--branch="+systemRef, "--subject=Version "+version,
		"--timestamp=@1700000000", "--add-metadata-string=version="+version, "--tree=dir="+root))
}

func (f systemFile) make(root string) error {
	path := filepath.Join(root, f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case f.target != "":
		return os.Symlink(f.target, path)
	case f.sameAs != "":
		return os.Link(filepath.Join(root, f.sameAs), path)
	case strings.HasSuffix(f.path, "/"):
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(path, []byte(f.content), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chown(path, f.uid, f.uid); err != nil {
		return err
	}
	if err := unix.Chmod(path, f.mode); err != nil {
		return err
	}
	for name, value := range f.xattrs {
		if err := unix.Setxattr(path, name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// encapsulate makes an image of the system's commit, which is in the stage's repository.
func (s *stage) encapsulate(t *testing.T, destination string, args ...string) importer.EncapsulateResult {
	t.Helper()
	return answer[importer.EncapsulateResult](t, fixture.Run(t, s.bus.Ctl(t, append(
		[]string{"--json", "encapsulate", "--tls-verify=false", systemRef, destination}, args...)...)))
}

// answer decodes what a command with --json printed; one that fails fails the test.
func answer[T any](t *testing.T, out fixture.Output) T {
	t.Helper()
	if out.Code != 0 {
		t.Fatalf("the command exits %d:\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	return decode[T](t, out.Stdout)
}

// show tells what is known of a stored image.
func (s *stage) show(t *testing.T, reference string) importer.Image {
	t.Helper()
	return answer[importer.Image](t, fixture.Run(t, s.bus.Ctl(t, "--json", "show", reference)))
}
