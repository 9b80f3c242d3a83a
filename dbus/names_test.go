package dbus

import (
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

func TestLabels(t *testing.T) {
	for text, label := range map[string]string{
		"":                            "_",
		"abc9":                        "abc9",
		"9abc":                        "_39abc",
		"docker://quay.io/x/os:1":     "docker_3a_2f_2fquay_2eio_2fx_2fos_3a1",
		"a_b":                         "a_5fb",
		"ü\n":                         "_c3_bc_0a",
		"oci:/images/os:stable-image": "oci_3a_2fimages_2fos_3astable_2dimage",
	} {
		if got := escapeLabel(text); got != label {
			t.Errorf("escapeLabel(%q) = %q, want %q", text, got, label)
		}
		if got, ok := unescapeLabel(label); got != text || !ok {
			t.Errorf("unescapeLabel(%q) = %q, %v, want %q", label, got, ok, text)
		}
		if path := imagePath(text); !path.IsValid() {
			t.Errorf("%q is no object path", path)
		}
	}
	for _, label := range []string{"", "_3", "_zz", "_61", "a_3A", "-"} {
		if text, ok := unescapeLabel(label); ok {
			t.Errorf("unescapeLabel(%q) = %q, want none", label, text)
		}
	}
}

func TestIDs(t *testing.T) {
	if got, want := jobPath(18446744073709551615), godbus.ObjectPath("/org/ostree/import1/job/_18446744073709551615"); got != want {
		t.Errorf("path %q, want %q", got, want)
	}
	for _, element := range []string{"", "1", "_", "_01", "_-1", "_+1", "_1x", "_18446744073709551616", "__1"} {
		if id, ok := parseID(element); ok {
			t.Errorf("parseID(%q) = %d, want none", element, id)
		}
	}
	if id, ok := parseID("_42"); id != 42 || !ok {
		t.Errorf("parseID(_42) = %d, %v", id, ok)
	}
}

func FuzzUnescapeLabel(f *testing.F) {
	f.Add("docker_3a_2f_2fquay_2eio")
	f.Add("_")
	f.Fuzz(func(t *testing.T, label string) {
		if text, ok := unescapeLabel(label); ok && escapeLabel(text) != label {
			t.Errorf("%q is read as %q, which is written %q", label, text, escapeLabel(text))
		}
	})
}

func TestBusAddresses(t *testing.T) {
	for address, path := range map[string]string{
		"unix:path=/run/dbus/system_bus_socket":        "/run/dbus/system_bus_socket",
		"unix:path=/tmp/a%20b,guid=0123456789abcdef":   "/tmp/a b",
		"unix:guid=0123456789abcdef,abstract=/tmp/bus": "@/tmp/bus",
	} {
		if got, err := socketPath(address); got != path || err != nil {
			t.Errorf("socketPath(%q) = %q, %v, want %q", address, got, err, path)
		}
	}
	for _, address := range []string{"", "tcp:host=localhost,port=1", "unix:", "unix:path=%zz"} {
		if path, err := socketPath(address); err == nil {
			t.Errorf("socketPath(%q) = %q, want an error", address, path)
		}
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/system")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/session")
	for name, want := range map[string]string{"": "unix:path=/system", "system": "unix:path=/system",
		"session": "unix:path=/session", "unix:path=/x": "unix:path=/x"} {
		if got := busAddress(name); got != want {
			t.Errorf("busAddress(%q) = %q, want %q", name, got, want)
		}
	}
}
