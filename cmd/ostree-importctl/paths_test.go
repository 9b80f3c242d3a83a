package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelativePaths covers each place of the command line where a path can stand.
func TestRelativePaths(t *testing.T) {
	const unverified = "ostree-unverified-image:"
	here := t.TempDir()
	t.Chdir(here)
	for _, test := range []struct {
		name, text, want string
		make             func(string) (string, error)
	}{
		{"directory", "oci:image", unverified + "oci:HERE/image", absoluteImage},
		{"directory with a tag", "oci:image:a/b//c", unverified + "oci:HERE/image:a/b//c", absoluteImage},
		{"directory above", "oci:../image:x", unverified + "oci:UP/image:x", absoluteImage},
		{"this directory", "dir:.", unverified + "dir:HERE", absoluteImage},
		{"name with a colon", "dir:a:b", unverified + "dir:HERE/a:b", absoluteImage},
		{"archive", "oci-archive:./x.tar:tag", unverified + "oci-archive:HERE/x.tar:tag", absoluteImage},
		{"docker archive", "docker-archive:x.tar:docker.io/a/b:1", unverified + "docker-archive:HERE/x.tar:docker.io/a/b:1", absoluteImage},
		{"signed", "ostree-image-signed:oci:x", "ostree-image-signed:oci:HERE/x", absoluteImage},
		{"of a remote", "ostree-remote-image:fedora:oci:x:1", "ostree-remote-image:fedora:oci:HERE/x:1", absoluteImage},
		{"absolute", "oci:/x/../y:1", "oci:/x/../y:1", absoluteImage},
		{"registry", "docker://h/x:1", "docker://h/x:1", absoluteImage},
		{"written directory", "oci:x:1", "oci:HERE/x:1", absoluteDestination},
		{"written archive", "oci-archive:x/y.tar", "oci-archive:HERE/x/y.tar", absoluteDestination},
		{"written file", "tar:x:y.tar", "tar:HERE/x:y.tar", absoluteDestination},
		{"path", "x", "HERE/x", absolute},
		{"no path", "", "", absolute},
		{"key", "key.pem", "HERE/key.pem", absoluteKey},
		{"key with a password", "key.pem:pass=a//b", "HERE/key.pem:pass=a//b", absoluteKey},
		{"key of a provider", "provider:attestation", "provider:attestation", absoluteKey},
		{"key of a token", "pkcs11:token=x", "pkcs11:token=x", absoluteKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := strings.NewReplacer("HERE", here, "UP", filepath.Dir(here)).Replace(test.want)
			if got, err := test.make(test.text); err != nil || got != want {
				t.Errorf("%q becomes %q, %v, want %q", test.text, got, err, want)
			}
		})
	}
}

// TestColonInTheDirectory sees that a path which cannot be written in a reference is not cut short.
func TestColonInTheDirectory(t *testing.T) {
	here := filepath.Join(t.TempDir(), "a:b")
	if err := os.Mkdir(here, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	for _, text := range []string{"oci:image", "oci-archive:x.tar", "docker-archive:x.tar"} {
		got, err := absoluteImage(text)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "has a colon") {
			t.Errorf("%q becomes %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"dir:image", "tar:x.tar"} {
		if got, err := absoluteDestination(text); err != nil || !strings.HasSuffix(got, "/a:b/"+text[strings.IndexByte(text, ':')+1:]) {
			t.Errorf("%q becomes %q, %v", text, got, err)
		}
	}
}

func TestDirectoryIsNoFile(t *testing.T) {
	for _, text := range []string{"tar:x/", "squashfs:/srv/", "erofs:"} {
		if got, err := absoluteDestination(text); exitCode(err) != exitUsage {
			t.Errorf("%q becomes %q, %v", text, got, err)
		}
	}
}
