package reference

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const hex64 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestParse(t *testing.T) {
	insecure := Signature{Kind: PolicyInsecureAllowed}
	tests := []struct {
		in    string
		want  Reference
		print string
	}{
		{"ostree-image-signed:docker://q/x", Reference{Signature{Kind: PolicyStrict}, Image{TransportRegistry, "q/x"}}, "ostree-image-signed:docker://q/x"},
		{"ostree-image-signed:oci:/p", Reference{Signature{Kind: PolicyStrict}, Image{TransportOCI, "/p"}}, "ostree-image-signed:oci:/p"},
		{"ostree-unverified-image:registry:q/x:1", Reference{insecure, Image{TransportRegistry, "q/x:1"}}, "ostree-unverified-registry:q/x:1"},
		{"ostree-unverified-image:docker://q/x:1", Reference{insecure, Image{TransportRegistry, "q/x:1"}}, "ostree-unverified-registry:q/x:1"},
		{"ostree-unverified-image:oci:/p:tag", Reference{insecure, Image{TransportOCI, "/p:tag"}}, "ostree-unverified-image:oci:/p:tag"},
		{"ostree-unverified-registry:quay.io/f/x", Reference{insecure, Image{TransportRegistry, "quay.io/f/x"}}, "ostree-unverified-registry:quay.io/f/x"},
		{"ostree-remote-image:fedora:docker://quay.io/f/x", Reference{Signature{Remote, "fedora"}, Image{TransportRegistry, "quay.io/f/x"}}, "ostree-remote-image:fedora:docker://quay.io/f/x"},
		{"ostree-remote-registry:fedora:quay.io/f/x", Reference{Signature{Remote, "fedora"}, Image{TransportRegistry, "quay.io/f/x"}}, "ostree-remote-image:fedora:docker://quay.io/f/x"},
		{"docker://quay.io/f/x:1", Reference{insecure, Image{TransportRegistry, "quay.io/f/x:1"}}, "ostree-unverified-registry:quay.io/f/x:1"},
		{"registry:quay.io/f/x:1", Reference{insecure, Image{TransportRegistry, "quay.io/f/x:1"}}, "ostree-unverified-registry:quay.io/f/x:1"},
		{"oci-archive:/a.ociarchive", Reference{insecure, Image{TransportOCIArchive, "/a.ociarchive"}}, "ostree-unverified-image:oci-archive:/a.ociarchive"},
		{"docker-archive:/a.tar", Reference{insecure, Image{TransportDockerArchive, "/a.tar"}}, "ostree-unverified-image:docker-archive:/a.tar"},
		{"containers-storage:[overlay@/var/lib/c]img", Reference{insecure, Image{TransportContainersStorage, "[overlay@/var/lib/c]img"}}, "ostree-unverified-image:containers-storage:[overlay@/var/lib/c]img"},
		{"dir:./x", Reference{insecure, Image{TransportDir, "./x"}}, "ostree-unverified-image:dir:./x"},
		{"docker-daemon:x:latest", Reference{insecure, Image{TransportDockerDaemon, "x:latest"}}, "ostree-unverified-image:docker-daemon:x:latest"},
		{"quay.io/f/x", Reference{insecure, Image{TransportRegistry, "quay.io/f/x"}}, "ostree-unverified-registry:quay.io/f/x"},
		{"localhost/x:1", Reference{insecure, Image{TransportRegistry, "localhost/x:1"}}, "ostree-unverified-registry:localhost/x:1"},
		{"myhost:5000/x:1", Reference{insecure, Image{TransportRegistry, "myhost:5000/x:1"}}, "ostree-unverified-registry:myhost:5000/x:1"},
		{"[::1]:5000/x", Reference{insecure, Image{TransportRegistry, "[::1]:5000/x"}}, "ostree-unverified-registry:[::1]:5000/x"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil || got != tt.want {
				t.Fatalf("Parse = %+v, %v; want %+v", got, err, tt.want)
			}
			if got.String() != tt.print {
				t.Errorf("String = %q, want %q", got.String(), tt.print)
			}
			if again, err := Parse(got.String()); err != nil || again != got {
				t.Errorf("Parse(String) = %+v, %v", again, err)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "is empty; write docker://"},
		{"foo", "has no transport"},
		{"foo://", `unknown transport "foo"`},
		{"foo:bar", `unknown transport "foo"`},
		{"docker:blah", "write docker://blah"},
		{"docker:5000/blah", "write docker://5000/blah"},
		{"docker://", "names no image"},
		{"docker:///x", "write docker://x"},
		{"registry:", "names no image"},
		{"oci:", "names no image"},
		{"fedora/x", "docker://docker.io/fedora/x"},
		{"quay.io/", "has no transport"},
		{"quay.io//x", "has no transport"},
		{"a b.c/x", "has no transport"},
		{"quay.io/x\n", "control character"},
		{"oci:/x\x00", "control character"},
		{"oci:/x\xff", "not UTF-8"},
		{"ostree-image-signed:", "is empty"},
		{"ostree-image-signed", "is empty"},
		{"ostree-image-signed:quay.io/x", "has no transport"},
		{"ostree-unverified-registry:", "names no image"},
		{"ostree-unverified-registry:docker://q/x", "write docker://q/x"},
		{"ostree-remote-image:fedora", "lacks the name of the OSTree remote"},
		{"ostree-remote-image::docker://q/x", "lacks the name of the OSTree remote"},
		{"ostree-remote-image:a\nb:docker://q/x", "control character"},
		{"ostree-remote-registry:fedora", "lacks the name of the OSTree remote"},
		{"ostree-foo:docker://q/x", `unknown scheme "ostree-foo"`},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %+v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestDigestAndPinned(t *testing.T) {
	d := digest.Digest("sha256:" + hex64)
	other := digest.Digest("sha256:" + strings.Repeat("0", 64))
	tests := []struct {
		image  string
		digest digest.Digest
		pinned string
	}{
		{"docker://q/x", "", "docker://q/x@" + d.String()},
		{"docker://q/x:1", "", "docker://q/x@" + d.String()},
		{"docker://q:5000/x", "", "docker://q:5000/x@" + d.String()},
		{"docker://q/x@" + other.String(), other, "docker://q/x@" + d.String()},
		{"docker://q/x:1@" + other.String(), other, "docker://q/x@" + d.String()},
		{"docker://q/x@sha256:ab", "", "docker://q/x@" + d.String()},
		{"oci:/x@" + other.String(), "", "oci:/x@" + other.String()},
	}
	for _, tt := range tests {
		t.Run(tt.image, func(t *testing.T) {
			image, err := ParseImage(tt.image)
			if err != nil {
				t.Fatal(err)
			}
			if image.Digest() != tt.digest {
				t.Errorf("Digest = %q, want %q", image.Digest(), tt.digest)
			}
			if pinned := image.Pinned(d).String(); pinned != tt.pinned {
				t.Errorf("Pinned = %q, want %q", pinned, tt.pinned)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ostree-remote-image:fedora:docker://quay.io/f/x@sha256:" + hex64)
	f.Add("ostree-unverified-registry:q/x:1")
	f.Add("localhost:5000/x")
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(parsed.String()); err != nil || again != parsed {
			t.Fatalf("Parse(%q) = %+v, but its text %q gives %+v, %v", s, parsed, parsed, again, err)
		}
		ref, err := ImageRef(parsed.Image)
		if err != nil {
			return
		}
		if image, err := ImageOfRef(ref); err != nil || image != parsed.Image {
			t.Fatalf("ImageOfRef(%q) = %+v, %v; want %+v", ref, image, err, parsed.Image)
		}
	})
}
