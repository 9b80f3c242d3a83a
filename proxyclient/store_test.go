package proxyclient

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestStore opens references that name a container storage. Nothing may appear on disk, and no
// proxy may be started.
func TestStore(t *testing.T) {
	needs.Root(t) // owners are looked at
	dir := t.TempDir()
	for _, path := range []string{"store/vfs-images", "run", "mine/vfs-images", "open/vfs-images", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(dir+"/mine", 1000, 1000), os.Chmod(dir+"/open", 0o777), os.Symlink("mine", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		spec string
		want Class // "" for accepted
	}{
		{"[vfs@" + dir + "/store+" + dir + "/run]", ""},
		{"[vfs@" + dir + "/store]", ""},
		{"[" + dir + "/store]", ""},
		{"[vfs@" + dir + "/new+" + dir + "/run]", ClassNotFound},
		{"[vfs@" + dir + "/store+" + dir + "/new]", ClassNotFound},
		{"[" + dir + "/new]", ClassNotFound},
		{"[vfs@" + dir + "/empty]", ClassNotFound},
		{"[vfs@" + dir + "/mine]", ClassConfig},
		{"[vfs@" + dir + "/link]", ClassConfig},
		{"[vfs@" + dir + "/open]", ClassConfig},
		{"[vfs@" + dir + "/store+" + dir + "/open]", ClassConfig},
		{"[vfs@" + dir + "/mine/../store]", ClassConfig},
		{"[vfs@store]", ClassConfig},
		{"[]", ClassConfig},
		{"[vfs@]", ClassConfig},
		{"[vfs@" + dir + "/store", ClassConfig},
		{"[overlay@" + dir + "/store+" + dir + "/run:overlay.mount_program=/bin/sh]", ClassConfig},
		{"[overlay@" + dir + "/store:overlay.mount_program=/bin/sh]", ClassConfig},
	} {
		err := checkStore("containers-storage:" + test.spec + "localhost/os:tag")
		var e *Error
		if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &e) || e.Class != test.want) {
			t.Errorf("%s: %v, want %q", test.spec, err, test.want)
		}
		if test.want == "" {
			continue
		}
		_, err = OpenSource(t.Context(), Config{Command: []string{"/nonexistent/skopeo"}}, "containers-storage:"+test.spec+"x")
		if !errors.As(err, &e) || e.Class != test.want {
			t.Errorf("%s: %v is not refused before the proxy starts", test.spec, err)
		}
	}
	if _, err := os.Stat(dir + "/new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
}

// TestHostErrors are the host's, not the configuration's.
func TestHostErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenSource(t.Context(), Config{Anonymous: true, TempDir: dir + "/missing"}, "docker://localhost/x")
	var e *Error
	if !errors.As(err, &e) || e.Class != ClassTempDir {
		t.Errorf("no directory: %v", err)
	}
	for text, want := range map[string]Class{
		"StatusCode: 404, <html>unauthorized: authentication required</html>":    ClassNotFound,
		"StatusCode: 403, <html>timeout</html>":                                  ClassUnauthorized,
		"StatusCode: 401, ":                                                      ClassUnauthorized,
		"reading manifest: received unexpected HTTP status: 404 Not Found":       ClassNotFound,
		"reading manifest: received unexpected HTTP status: 401 Unauthorized":    ClassUnauthorized,
		"invalid status code from registry 404 (Not Found)":                      ClassNotFound,
		"Requesting bearer token: invalid status code from registry 403 (x)":     ClassUnauthorized,
		"StatusCode: 503, <html>no such file or directory</html>":                ClassNetwork,
		"creating temporary file: write /var/tmp/x: no space left on device":     ClassNoSpace,
		"mkdir /var/tmp/x: read-only file system":                                ClassReadOnly,
		"dial tcp: lookup localhost: open /etc/resolv.conf: too many open files": ClassDescriptors,
	} {
		if got := classify("OpenImage", text, ""); got.Class != want {
			t.Errorf("%s: %s, want %s", text, got.Class, want)
		}
	}
}
