package reference

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestEscape(t *testing.T) {
	tests := []struct{ in, want string }{
		{"sha256:2c26b46b", "sha256_3A_2c26b46b"},
		{"docker://quay.io/fedora/fedora-bootc:latest", "docker_3A__2F__2F_quay_2E_io/fedora/fedora-bootc_3A_latest"},
		{"docker://quay.io/example/my_os@sha256:ab", "docker_3A__2F__2F_quay_2E_io/example/my__os_40_sha256_3A_ab"},
		{"docker://localhost:5000/foo:latest", "docker_3A__2F__2F_localhost_3A_5000/foo_3A_latest"},
		{"oci:/var/mnt/usb/myos.oci", "oci_3A__2F_var/mnt/usb/myos_2E_oci"},
		{"oci-archive:/mnt/workdir/tmp/puppet.ociarchive", "oci-archive_3A__2F_mnt/workdir/tmp/puppet_2E_ociarchive"},
		{"containers-storage:localhost/bootc:tag", "containers-storage_3A_localhost/bootc_3A_tag"},
		{"containers-storage:[overlay@/var/lib/c]img", "containers-storage_3A__5B_overlay_40__2F_var/lib/c_5D_img"},
		{"dir:./x", "dir_3A__2E__2F_x"},
		{"/", "_2F_"},
		{"blah/", "blah_2F_"},
		{"/foo/", "_2F_foo_2F_"},
		{"foo//bar", "foo/_2F_bar"},
		{"a-/b", "a-_2F_b"},
		{"a_/b", "a___2F_b"},
		{"é", "_E9_"},
		{"日本", "_65E5__672C_"},
		{"\t", "_09_"},
		{strings.Repeat("x", 255), strings.Repeat("x", 255)},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Escape("some/prefix", tt.in)
			if err != nil || got != "some/prefix/"+tt.want {
				t.Fatalf("Escape = %q, %v; want %q", got, err, tt.want)
			}
			if back, err := Unescape("some/prefix", got); err != nil || back != tt.in {
				t.Errorf("Unescape = %q, %v", back, err)
			}
		})
	}
}

func TestEscapeErrors(t *testing.T) {
	tests := []struct{ name, prefix, in, want string }{
		{"empty", "p", "", "is empty"},
		{"empty prefix", "", "x", "needs a prefix"},
		{"NUL", "p", "a\x00b", "NUL"},
		{"not UTF-8", "p", "a\xffb", "UTF-8"},
		{"leading dash", "p", "-a", `begins with "-"`},
		{"dash after slash", "p", "a/-b", `begins with "-"`},
		{"long component", "p", strings.Repeat("x", 256), "256 bytes long"},
		{"long ref", "p", strings.Repeat("x/", 1900) + "x", "more than 3800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Escape(tt.prefix, tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Escape = %q, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestUnescapeErrors(t *testing.T) {
	tests := []struct{ name, ref, want string }{
		{"other prefix", "q/x", "not below p"},
		{"nothing below", "p", "not below p"},
		{"empty", "p/", "is not how"},
		{"dot", "p/a.b", "not a character"},
		{"open escape", "p/a_3A", "lacks"},
		{"no code", "p/a_zz_", "not the code"},
		{"surrogate", "p/_D800_", "not the code"},
		{"too large", "p/_110000_", "not the code"},
		{"lower case", "p/a_3a_", "is not how"},
		{"needless escape", "p/_61_", "is not how"},
		{"NUL", "p/_00_", "is not how"},
		{"slash after a dash", "p/a-/b", "is not how"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Unescape("p", tt.ref); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Unescape = %q, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestRefs(t *testing.T) {
	d := digest.Digest("sha256:" + hex64)
	if ref, err := BlobRef(d); err != nil || ref != "ostree/container/blob/sha256_3A_"+hex64 {
		t.Errorf("BlobRef = %q, %v", ref, err)
	}
	if ref, err := BlobRef("sha256:ab"); err == nil {
		t.Errorf("BlobRef of a bad digest = %q", ref)
	}
	image := Image{TransportRegistry, "quay.io/f/x:1"}
	ref, err := ImageRef(image)
	if err != nil || ref != "ostree/container/image/docker_3A__2F__2F_quay_2E_io/f/x_3A_1" {
		t.Errorf("ImageRef = %q, %v", ref, err)
	}
	if back, err := ImageOfRef(ref); err != nil || back != image {
		t.Errorf("ImageOfRef = %+v, %v", back, err)
	}
	for _, bad := range []string{"main", "ostree/container/image/by-hand", "ostree/container/image/registry_3A_x", "ostree/container/blob/oci_3A_x"} {
		if image, err := ImageOfRef(bad); err == nil {
			t.Errorf("ImageOfRef(%q) = %+v", bad, image)
		}
	}
}

// TestOSTreeHoldsEscapedRefs asks ostree itself whether it takes what Escape writes, at its limits.
func TestOSTreeHoldsEscapedRefs(t *testing.T) {
	dir := t.TempDir()
	repo := "--repo=" + dir + "/repo"
	ostree := func(args ...string) {
		t.Helper()
		cmd := exec.Command(needs.Tool(t, "ostree"), append([]string{repo}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ostree %q: %v: %s (on Debian: apt install ostree)", args, err, out)
		}
	}
	ostree("init", "--mode=bare-user")
	ostree("commit", "--branch=start", "--tree=dir="+t.TempDir())
	names := []string{
		"docker://quay.io/my_os/é-x:1.2_", "_a/b", "a/_b", "dir:./x y",
		strings.Repeat("x", maxRefComponent),
		strings.TrimSuffix(strings.Repeat(strings.Repeat("y", 200)+"/", (maxRef-len(ImagePrefix)-1)/201), "/"),
	}
	for _, name := range names {
		ref, err := Escape(ImagePrefix, name)
		if err != nil {
			t.Fatal(err)
		}
		ostree("refs", "--create="+ref, "start")
		ostree("rev-parse", ref)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("docker://quay.io/fedora/fedora-bootc:latest")
	f.Add("a_/b//é\U0010FFFF-")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := Escape("p", s)
		if err != nil {
			return
		}
		if back, err := Unescape("p", ref); err != nil || back != s {
			t.Fatalf("Unescape(Escape(%q) = %q) = %q, %v", s, ref, back, err)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	f.Add("docker_3A__2F__2F_quay_2E_io/f/x__y")
	f.Add("_110000_")
	f.Fuzz(func(t *testing.T, escaped string) {
		text, err := Unescape("p", "p/"+escaped)
		if err != nil {
			return
		}
		if ref, err := Escape("p", text); err != nil || ref != "p/"+escaped {
			t.Fatalf("Escape(Unescape(%q) = %q) = %q, %v", escaped, text, ref, err)
		}
	})
}
