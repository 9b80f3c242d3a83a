package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// exported is a host with the derived image, which holds everything that is hard.
type exported struct {
	derived
	host   *stage
	result importer.Result
}

func newExported(t *testing.T) exported {
	t.Helper()
	d := newDerived(t)
	e := exported{derived: d, host: newStageFor(t, d.stage)}
	e.result = pulled(t, fixture.Run(t, e.host.pull(t, d.derived)))
	return e
}

func (e exported) export(t *testing.T, destination string, args ...string) importer.ExportResult {
	t.Helper()
	return answer[importer.ExportResult](t, fixture.Run(t, e.host.bus.Ctl(t, append(
		[]string{"--json", "export", e.derived.derived, destination}, args...)...)))
}

// An image that is pushed is the one that a layout gets, and comes back as it was.
func TestExportToRegistry(t *testing.T) {
	e := newExported(t)
	layout := e.export(t, "oci:"+filepath.Join(t.TempDir(), "image"))
	reference := e.host.reference("exported")
	pushed := e.export(t, reference, "--tls-verify=false")
	if pushed.ManifestDigest != layout.ManifestDigest || pushed.Destination != reference || pushed.Commit != e.result.Commit {
		t.Errorf("the result is %+v, a layout's is %+v", pushed, layout)
	}
	e.reimport(t, ostreerepo.ModeArchive, reference, "--tls-verify=false")
	refused := fixture.Run(t, e.host.bus.Ctl(t, "export", e.derived.derived, reference)) // over TLS
	if refused.Code == 0 || !strings.Contains(refused.Stderr, "push") {
		t.Errorf("exit code %d: %s", refused.Code, refused.Stderr)
	}
}

// storage makes an empty container storage, and returns what its images are called before their
// names.
func storage(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	place := "containers-storage:[vfs@" + t.TempDir() + "+" + t.TempDir() + "]"
	// What makes one is a look at it.
	if out := fixture.Run(t, exec.Command(needs.Tool(t, "skopeo"), "inspect", place+"localhost/none")); out.Code == 0 {
		t.Fatal("a new storage has an image")
	}
	return place
}

// What skopeo writes to is written to by way of it: the image comes back as it was, and replaces
// one that is there.
func TestExportBySkopeo(t *testing.T) {
	e := newExported(t)
	dir := fixture.PublicDir(t)
	for i, destination := range []string{"dir:" + dir + "/image", "docker-archive:" + dir + "/archive:localhost/os:1", storage(t) + "localhost/os:1"} {
		t.Run(strings.SplitN(destination, ":", 2)[0], func(t *testing.T) {
			args := []string{"--compression=none"}
			layout := e.export(t, "oci:"+filepath.Join(t.TempDir(), "image"), args...)
			for range 2 {
				if made := e.export(t, destination, args...); made.ManifestDigest != layout.ManifestDigest || made.Destination != destination {
					t.Errorf("the result is %+v, a layout's is %+v", made, layout)
				}
			}
			e.reimport(t, fixture.Modes[i%3], destination)
			commit := commitSystem(t, e.stage.repo, "1")
			made := e.stage.encapsulate(t, destination)
			if got := answer[importer.UnencapsulateResult](t, fixture.Run(t, local(t, fixture.NewRepo(t, ostreerepo.ModeArchive).Path(),
				"--json", "unencapsulate", destination))); got.Commit != commit || len(made.Layers) != systemLayers {
				t.Errorf("of commit %s came back %+v", commit, got)
			}
		})
	}
}

// What can't be written is refused, and what is there stays.
func TestExportBySkopeoRefuses(t *testing.T) {
	e := newExported(t)
	dir := fixture.PublicDir(t)
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		destination string
		args        []string
		says        string
	}{
		{"dir:" + dir, nil, "neither empty nor an image"},
		{"dir:" + dir + "/notes", nil, "no directory"},
		{"dir:" + dir + "/none/image", nil, "no such file or directory"},
		{"dir:" + e.host.repo.Path() + "/image", nil, "repository"},
		{"docker-archive:" + e.host.repo.Path() + "/image", nil, "repository"},
		{"docker-archive:" + dir + "/a:UPPER", nil, "lower-case"},
		{"docker-archive:" + dir + "/a", []string{"--compression=gzip"}, "not compressed"},
		{"containers-storage:[vfs@" + dir + "+" + dir + "]localhost/os", nil, "there is no container storage"},
		{"containers-storage:[vfs@" + dir + "+" + dir + ":vfs.mount_program=/bin/sh]localhost/os", nil, "may not give a container storage options"},
		{"docker-daemon:os", nil, "can't be written to"},
	} {
		out := fixture.Run(t, e.host.bus.Ctl(t, append([]string{"export", e.derived.derived, test.destination}, test.args...)...))
		if out.Code == 0 || !strings.Contains(out.Stderr, test.says) {
			t.Errorf("%s: exit code %d: %s, want %q", test.destination, out.Code, out.Stderr, test.says)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// An image that is written out is one for other programs too, is the same each time, and comes back
// as it was.
func TestExportImage(t *testing.T) {
	e := newExported(t)
	for i, test := range []struct {
		transport string
		args      []string
		mode      ostreerepo.Mode
	}{
		{"oci", nil, ostreerepo.ModeArchive},
		{"oci-archive", []string{"--compression=zstd"}, ostreerepo.ModeBare},
	} {
		t.Run(test.transport, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			destination := test.transport + ":" + path
			if i == 0 {
				destination += ":tag"
			}
			first := e.export(t, destination, test.args...)
			if first.Commit != e.result.Commit || first.Size == 0 {
				t.Errorf("the result is %+v", first)
			}
			before := contents(t, path)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if again := e.export(t, destination, test.args...); again.ManifestDigest != first.ManifestDigest {
				t.Errorf("exported again the manifest is %s, not %s", again.ManifestDigest, first.ManifestDigest)
			}
			if after := contents(t, path); after != before {
				t.Errorf("exported again the files are\n%s\nnot\n%s", after, before)
			}
			type inspected struct{ Digest string }
			if got := decode[inspected](t, fixture.MustRun(t, "skopeo", "inspect", destination)).Digest; got != first.ManifestDigest.String() {
				t.Errorf("skopeo says that the digest is %s, the export %s", got, first.ManifestDigest)
			}
			config := decode[ocispec.Image](t, fixture.MustRun(t, "skopeo", "inspect", "--config", destination))
			if len(config.RootFS.DiffIDs) != len(e.result.Layers) {
				t.Errorf("%d layers were exported, %d imported", len(config.RootFS.DiffIDs), len(e.result.Layers))
			}
			e.reimport(t, test.mode, destination)
		})
	}
}

// contents lists the files below a path, with a digest of the contents.
func contents(t *testing.T, root string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&list, "%s %x\n", strings.TrimPrefix(path, root), sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// reimport imports what was exported into another repository and compares the trees.
func (e exported) reimport(t *testing.T, mode ostreerepo.Mode, reference string, args ...string) {
	t.Helper()
	repo := fixture.NewRepo(t, mode)
	back := pulled(t, fixture.Run(t, local(t, repo.Path(), append([]string{"--json", "pull", reference}, args...)...)))
	if back.BaseCommit == nil || *back.BaseCommit != e.commit {
		t.Errorf("the base commit is %v, want %s", back.BaseCommit, e.commit)
	}
	want, err := fixture.ReadCommit(e.host.repo, e.result.Commit)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fixture.ReadCommit(repo, back.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := ocimodel.Diff(want, got); diff != "" {
		t.Errorf("the image comes back as another:\n%s", diff)
	}
	fixture.Fsck(t, repo)
}

// A container tool unpacks what was exported: what the image's layers make together.
func TestExportUnpacks(t *testing.T) {
	e := newExported(t)
	layout := filepath.Join(t.TempDir(), "layout")
	e.export(t, "oci:"+layout+":tag")
	bundle := filepath.Join(t.TempDir(), "bundle")
	fixture.MustRun(t, "umoci", "unpack", "--image", layout+":tag", bundle)
	root := filepath.Join(bundle, "rootfs")
	for path, want := range map[string]string{
		"usr/lib/os-release": "VERSION=1\nchanged\n", "etc/hello.d/second": "second\n", "etc/tool.conf": "version = 1", "usr/bin/hello": "#!/bin/sh\n",
	} {
		if got, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"etc/hello.d/first", "usr/share/doc"} {
		if _, err := os.Lstat(filepath.Join(root, path)); !os.IsNotExist(err) {
			t.Errorf("%s is there although a layer removed it: %v", path, err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "usr/bin/su")); err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("usr/bin/su: %v, %v; want it setuid", info, err)
	}
}

// The root of an image can be had as an archive and as a file system image. What is there already
// isn't written again.
func TestExportRoot(t *testing.T) {
	e := newExported(t)
	for _, test := range []struct {
		format string
		list   []string // the command that looks into it, without its last argument, the file
		says   []string
	}{
		{
			"tar", []string{"tar", "--numeric-owner", "-tvf"},
			[]string{"-rwsr-xr-x 0/0", "usr/bin/hello\n", " -> ..//lib//library.so\n", "drwx------ 0/0"},
		},
		{
			"squashfs", []string{"unsquashfs", "-no-progress", "-lln"},
			[]string{"-rwsr-xr-x 0/0", "/usr/bin/hello\n", " -> ..//lib//library.so\n", "drwx------ 0/0"},
		},
		{"erofs", []string{"dump.erofs", "--path=/usr/bin/hello"}, []string{"regular file", "Size: 10"}},
	} {
		t.Run(test.format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root")
			first := e.export(t, test.format+":"+path)
			info, err := os.Stat(path)
			if err != nil || first.Cached || first.Commit != e.result.Commit || uint64(info.Size()) != first.Size || first.Size == 0 {
				t.Errorf("the result is %+v of %v, %v", first, info, err)
			}
			if out := fixture.MustRun(t, test.list[0], append(test.list[1:], path)...); !containsAll(out, test.says) {
				t.Errorf("%q lacks some of %q:\n%s", test.list, test.says, out)
			}
			config, err := os.ReadFile(first.ConfigFile)
			if err != nil || len(decode[ocispec.Image](t, string(config)).RootFS.DiffIDs) != len(e.result.Layers) {
				t.Errorf("the config beside it is %s (%v)", config, err)
			}
			before := contents(t, path)
			if again := e.export(t, test.format+":"+path); !again.Cached || contents(t, path) != before {
				t.Errorf("the second export is %+v", again)
			}
			// What somebody has changed is not taken for an export.
			if err := os.Truncate(path, 10); err != nil {
				t.Fatal(err)
			}
			if again := e.export(t, test.format+":"+path); again.Cached || contents(t, path) != before {
				t.Errorf("after a change the export is %+v", again)
			}
		})
	}
	if out := fixture.Run(t, e.host.bus.Ctl(t, "export", e.host.reference("none"), "tar:"+t.TempDir()+"/x")); out.Code != 3 {
		t.Errorf("exporting what is not stored exits %d: %s", out.Code, out.Stderr)
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
