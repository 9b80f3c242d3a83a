package dbus

import (
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

func TestDestinationsAreCleaned(t *testing.T) {
	for destination, want := range map[string]string{ // "" for a refusal
		"oci:/srv/image:tag": "oci:/srv/image:tag", "oci-archive:/srv/a.tar": "oci-archive:/srv/a.tar",
		"docker://h/x": "docker://h/x", "squashfs:/x": "squashfs:/x", "containers-storage:x": "containers-storage:x",
		"tar://srv//./a.tar": "tar:/srv/a.tar", "oci:/srv/x/:a/../b": "oci:/srv/x:a/../b", "dir:/srv/a:b/": "dir:/srv/a:b",
		"tar:/srv/a:b": "tar:/srv/a:b", "tar:/srv/..a/b..": "tar:/srv/..a/b..",
		"": "", "oci:image": "", "tar:x.tar": "", "erofs:./x": "", "oci-archive:": "", "tar:/srv/x/": "",
		"tar:/srv/../etc/cron.d/x": "", "oci:/srv/..:tag": "", "oci-archive:/../x": "", "squashfs:/srv/x/..": "",
	} {
		got, err := cleanDestination(destination)
		if got != want || want == "" && importer.KindOf(err) != importer.KindInvalidOption || want != "" && err != nil {
			t.Errorf("%q: %q, %v, want %q", destination, got, err, want)
		}
	}
}

func TestReferencesAreCleaned(t *testing.T) {
	for text, want := range map[string]string{ // "" for a refusal
		"docker://example.com/x:1": "docker://example.com/x:1", "example.com/x": "example.com/x",
		"oci:/srv/x:tag": "oci:/srv/x:tag", "oci:/srv//x/.:a/../b": "ostree-unverified-image:oci:/srv/x:a/../b",
		"ostree-image-signed:dir://srv/x/": "ostree-image-signed:dir:/srv/x",
		"docker-archive:/srv/./x.tar:a:b":  "ostree-unverified-image:docker-archive:/srv/x.tar:a:b",
		"containers-storage:a/../b":        "containers-storage:a/../b", "containers-storage:[overlay@/s+/r]x": "containers-storage:[overlay@/s+/r]x",
		"docker-daemon:x/../y": "docker-daemon:x/../y",
		"oci:/srv/../x":        "", "dir:/srv/..": "", "oci-archive:../x": "", "docker-archive:x": "", "oci:x": "", "dir:.": "",
		"containers-storage:[overlay@/srv/../root+/r]x": "", "containers-storage:[/srv//x]y": "", "containers-storage:[overlay@/s+/r/..]x": "",
		"ostree-unverified-image:oci:/srv/../x": "", "foo:": "",
	} {
		got, err := cleanReference(text)
		if got != want || want == "" && importer.KindOf(err) != importer.KindInvalidReference || want != "" && err != nil {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestPolkitSeesWhatRuns holds what polkit is asked about against what the job does.
func TestPolkitSeesWhatRuns(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	polkit := s.startPolkit(t, yes)
	conn := s.connectAs(t, nobody)
	for _, test := range []struct {
		method string
		args   []any
		detail string
		want   string // "" for a refusal before polkit is asked
	}{
		{"Import", []any{"oci://srv//x:t"}, "image", "oci:/srv/x:t"},
		{"Import", []any{"oci:/srv/../root/x"}, "", ""},
		{"Import", []any{"dir:root/x"}, "", ""},
		{"Prepare", []any{"oci-archive:/srv/./../etc/x"}, "", ""},
		{"Unencapsulate", []any{"dir:/srv/../x"}, "", ""},
		{"Export", []any{"docker://example.com/x", "tar:/srv/../etc/cron.d/x"}, "", ""},
		{"Export", []any{"docker://example.com/x", "tar:/srv/.//x"}, "destination", "tar:/srv/x"},
		{"Encapsulate", []any{"os", "oci:/srv/../etc/x"}, "", ""},
		{"Encapsulate", []any{"os", "oci:/srv//x:t"}, "destination", "oci:/srv/x:t"},
		{"Copy", []any{"docker://example.com/x", "/srv/../etc"}, "", ""},
		{"Copy", []any{"docker://example.com/x", "//srv//repo/"}, "destination", "/srv/repo"},
		{"CheckUpdate", []any{"oci:/srv/../x"}, "", ""},
		{"Compare", []any{"oci:/srv//x", ""}, "", ""},
		{"RemoveImages", []any{[]string{"oci://srv/./x:t"}}, "image", "oci:/srv/x:t"},
		{"RemoveImages", []any{[]string{escapedRef(t, "oci:/srv//x:t")}}, "image", "oci:/srv/x:t"},
		{"RemoveImages", []any{[]string{"ostree-image-signed:dir:/srv/x/", "oci-archive:/srv//y.tar"}},
			"images", "dir:/srv/x\noci-archive:/srv/y.tar"},
		{"RemoveImages", []any{[]string{"oci:/srv/../etc/x:t"}}, "", ""},
		{"RemoveImages", []any{[]string{"docker://example.com/x", "oci:x:t"}}, "", ""},
		{"RemoveImages", []any{[]string{escapedRef(t, "oci:/srv/../x:t")}}, "", ""},
		{"RemoveImages", []any{[]string{"x:\ndocker://example.com/x", "y:"}}, "", ""},
		{"RemoveImages", []any{[]string{"containers-storage:[overlay@/srv/../s+/r]x"}}, "", ""},
		{"Verify", []any{[]string{"oci://srv//x:t"}}, "image", "oci:/srv/x:t"},
		{"Verify", []any{[]string{"docker://example.com/x", "oci://srv//x:t"}},
			"images", "docker://example.com/x\noci:/srv/x:t"},
		{"Verify", []any{[]string{"dir:/srv/.."}}, "", ""},
		{"Export", []any{"oci:/srv//x:t", "tar:/srv/x"}, "image", "oci:/srv/x:t"},
		{"Export", []any{"oci:/srv/../x:t", "tar:/srv/x"}, "", ""},
		{"Copy", []any{"dir:x", "/srv/repo"}, "", ""},
	} {
		before := len(polkit.asked())
		err := s.manage(conn, test.method, append(test.args, variants(nil))...).Err
		checks := polkit.asked()[before:]
		if test.want == "" {
			if err == nil || len(checks) > 0 {
				t.Errorf("%s %q: %v, and polkit was asked %v", test.method, test.args, err, checks)
			}
			continue
		}
		if len(checks) != 1 || checks[0].details[test.detail] != test.want {
			t.Errorf("%s %q: polkit was asked %v, want %s", test.method, test.args, checks, test.want)
		}
	}
}

// escapedRef is the ref of an image.
func escapedRef(t *testing.T, name string) string {
	t.Helper()
	image, err := reference.ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.ImageRef(image)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestRootRemovesUncleanNames: other programs store images under relative paths, for instance.
func TestRootRemovesUncleanNames(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	for _, name := range []string{"oci:x:t", "oci:/srv/../x:t", "dir:/srv//x"} {
		err := s.manage(s.connect(t), "RemoveImages", []string{name}, map[string]godbus.Variant{}).Err
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
