//go:build hostile

package hostile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// refRow is a row for a reference.
func refRow(name, want, image string) row {
	return row{name: name, want: want, ask: func(_ *testing.T, s *stage) error { return s.pull(image, nil) }}
}

// pathRow is the same for a reference that names a file with this content.
func pathRow(name, want, prefix, content string) row {
	return row{name: name, want: want, ask: func(t *testing.T, s *stage) error {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
		return s.pull(prefix+path, nil)
	}}
}

// outside are paths that references try to have written.
var outside = []string{"/tmp/hostile-graph", "/tmp/hostile-run", "/tmp/hostile-escaped"}

// removeOutside removes what an earlier run may have left.
func removeOutside(t *testing.T) {
	for _, path := range outside {
		// Container storage mounts that directory; where it did not, there is nothing to undo.
		_ = unix.Unmount(filepath.Join(path, "overlay"), unix.MNT_DETACH)
		if err := os.RemoveAll(path); err != nil {
			t.Error(err)
		}
	}
}

// referenceRows are about names of images.
func referenceRows() []row {
	const bad, none = "InvalidReference", "ReferenceNotFound"
	const refused = bad + "|AccessDenied|UnsupportedImage|InvalidOption|Failed|org.freedesktop.DBus.Error.LimitsExceeded|org.freedesktop.DBus.Error.InvalidArgs"
	rows := []row{
		refRow("no name", bad, ""),
		refRow("a space", bad, " "),
		refRow("a transport alone", bad, "docker://"),
		refRow("an unknown transport", bad, "gopher://example.com/x"),
		refRow("upper case", bad, "docker://127.0.0.1:1/UPPER/case"),
		refRow("a name that is an option", bad, "--help"),
		refRow("a name that is an option, with a transport", bad, "docker://--authfile=/etc/shadow"),
		refRow("a line end", bad, "docker://127.0.0.1:1/x\n:y"),
		refRow("an escape sequence", bad, "docker://127.0.0.1:1/\x1b[2J"),
		refRow("..", bad, "docker://127.0.0.1:1/../../etc"),
		refRow("a name of 5,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", "docker://127.0.0.1:1/"+strings.Repeat("n", 5000)),
		refRow("a name of 500,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", "docker://127.0.0.1:1/"+strings.Repeat("n", 500_000)),
		refRow("a name of 4 MB", "org.freedesktop.DBus.Error.LimitsExceeded", "docker://127.0.0.1:1/"+strings.Repeat("n", 4_000_000)),
		refRow("a digest that is too short", bad, "docker://127.0.0.1:1/x@sha256:abcd"),
		refRow("a sha512 digest of the length of sha256", bad, "docker://127.0.0.1:1/x@sha512:"+strings.Repeat("a", 64)),
		refRow("a digest of md5", bad, "docker://127.0.0.1:1/x@md5:d41d8cd98f00b204e9800998ecf8427e"),
		refRow("a tag of 200 bytes", bad, "docker://127.0.0.1:1/x:"+strings.Repeat("t", 200)),
		refRow("a port out of range", "InvalidReference", "docker://127.0.0.1:99999/x"),
		refRow("a registry that is not there", "Network", "docker://127.0.0.1:1/x"),
		refRow("a layout without a path", "InvalidReference", "oci:"),
		refRow("a layout that is not there", none, "oci:/nonexistent/layout:t"),
		refRow("a layout below a file", "InvalidOption", "oci:/etc/passwd/x:t"),
		refRow("a layout with a path of 5,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", "oci:/"+strings.Repeat("p/", 2500)+":t"),
		refRow("a directory that is none", none+"|UnsupportedImage", "dir:/etc"),
		refRow("the root as a layout", "ReferenceNotFound", "oci:/:t"),
		refRow("container storage with directories of its own", "ReferenceNotFound", "containers-storage:[overlay@/tmp/hostile-graph+/tmp/hostile-run]localhost/x"),
		refRow("container storage with options", "InvalidOption", "containers-storage:[vfs@/var/lib/x+/run/x:mount_program=/tmp/evil]x"),
		refRow("a daemon's socket", refused, "docker-daemon:x:y"),
		refRow("another repository", "InvalidReference", "ostree:x@/ostree/repo"),
		refRow("a tar ball", "InvalidReference", "tarball:/etc/passwd"),
		refRow("a SIF file", "InvalidReference", "sif:/etc/passwd"),
		refRow("a remote that is not there", "SignatureRejected", "ostree-remote-image:nowhere:docker://127.0.0.1:1/x"),
		refRow("a remote whose name is a path", "SignatureRejected", "ostree-remote-image:../../x:docker://127.0.0.1:1/x"),
		refRow("a signed image, where everything is accepted", "SignatureRejected", "ostree-image-signed:docker://127.0.0.1:1/x"),
		pathRow("an archive of no bytes", "UnsupportedImage", "docker-archive:", ""),
		pathRow("an archive of noise", "UnsupportedImage", "docker-archive:", strings.Repeat("noise", 1000)),
		pathRow("an OCI archive of noise", "UnsupportedImage", "oci-archive:", strings.Repeat("noise", 1000)),
		pathRow("an OCI archive that leads out", "UnsupportedImage", "oci-archive:", string(archive(file("../../../../tmp/hostile-escaped"), file("index.json")))),
		pathRow("a Docker archive that leads out", "UnsupportedImage", "docker-archive:", string(archive(entry{Header: file("manifest.json").Header, content: `[{"Config":"../../etc/shadow","Layers":["/etc/shadow"]}]`}))),
	}
	return append(rows, row{name: "what was written outside", ask: func(t *testing.T, _ *stage) error {
		for _, path := range outside {
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("%s is there (%v)", path, err)
			}
		}
		return nil
	}})
}

// optionRow is a row for options of an import of an image that is there.
func optionRow(name, want string, given options) row {
	return row{name: name, want: want, ask: func(t *testing.T, s *stage) error {
		return s.pull(layoutOf(t, configured(nil)), given)
	}}
}

// optionRows are about what is said beside a name.
func optionRows() []row {
	const invalid = "InvalidOption"
	many := make([]string, 10_000)
	for i := range many {
		many[i] = "/nonexistent/key"
	}
	surplus := options{}
	for i := range 20_000 {
		surplus[strings.Repeat("o", 1+i%40)+string(rune('a'+i%26))+strings.Repeat("p", i/1000)] = "x"
	}
	return []row{
		optionRow("an unknown option", "InvalidOption", options{"no-such-option": true}),
		optionRow("an option of another type", "InvalidOption", options{"jobs": "many"}),
		optionRow("an option that is a dictionary", "InvalidOption", options{"arch": map[string]string{"a": "b"}}),
		optionRow("65 layers at once", invalid, options{"jobs": uint32(65)}),
		optionRow("4 billion layers at once", invalid, options{"jobs": uint32(1<<32 - 1)}),
		optionRow("a required digest that is none", invalid, options{"require-manifest-digest": "sha256:../x"}),
		optionRow("another required digest", "ManifestMismatch", options{"require-manifest-digest": "sha256:" + strings.Repeat("a", 64)}),
		optionRow("a name and none", invalid, options{"target-image": "docker://example.com/x", "no-imgref": true}),
		optionRow("a name that no registry has", "", options{"target-image": "docker://../.."}),
		optionRow("a name of 100,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", options{"target-image": "docker://example.com/" + strings.Repeat("n", 100_000)}),
		optionRow("credentials that are not there", "InvalidOption", options{"authfile": "/nonexistent/auth.json"}),
		optionRow("credentials of endless zeros", "InvalidOption", options{"authfile": "/dev/zero"}),
		optionRow("credentials in a directory", "InvalidOption", options{"authfile": "/etc"}),
		optionRow("credentials at a relative path", "InvalidOption", options{"authfile": "auth.json"}),
		optionRow("credentials by a way round", "InvalidOption", options{"authfile": "/srv/../etc/shadow"}),
		optionRow("credentials at a path of 10,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", options{"authfile": "/" + strings.Repeat("p/", 5000)}),
		optionRow("credentials and none", "InvalidOption", options{"authfile": "/etc/passwd", "auth-anonymous": true}),
		optionRow("certificates in a directory without any", "InvalidOption", options{"cert-dir": "/etc/init.d"}),
		optionRow("10,000 keys", "org.freedesktop.DBus.Error.LimitsExceeded", options{"decryption-keys": many}),
		optionRow("20,000 options", "org.freedesktop.DBus.Error.LimitsExceeded", surplus),
		optionRow("a transaction of 100,000 bytes", "org.freedesktop.DBus.Error.LimitsExceeded", options{"transaction-id": strings.Repeat("t", 100_000)}),
		optionRow("an architecture that is a path", "WrongArchitecture", options{"arch": "../../x"}),
		optionRow("an option nested 30 deep", "org.freedesktop.DBus.Error.LimitsExceeded", options{"jobs": deep(30)}),
	}
}

// deep is a variant in a variant in a variant.
func deep(n int) godbus.Variant {
	v := godbus.MakeVariant("x")
	for range n {
		v = godbus.MakeVariant(v)
	}
	return v
}
