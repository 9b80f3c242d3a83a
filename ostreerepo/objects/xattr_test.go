package objects_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

func TestParseXattrs(t *testing.T) {
	for name, test := range map[string]struct {
		b    string
		want objects.Xattrs // nil with an error, unless b is empty
	}{
		"none":        {"", nil},
		"one":         {"user.a\x00value\x07\x0d", objects.Xattrs{{Name: "user.a", Value: []byte("value")}}},
		"NUL at end":  {"user.a\x00value\x00\x07\x0e", objects.Xattrs{{Name: "user.a", Value: []byte("value\x00")}}},
		"not sorted":  {"b\x001\x02a\x002\x02\x04\x08", objects.Xattrs{{Name: "b", Value: []byte("1")}, {Name: "a", Value: []byte("2")}}},
		"no offsets":  {"user.a\x00value", nil},
		"longer":      {"user.a\x00value\x07\x0d\x00", nil},
		"no name":     {"\x00value\x01\x07", nil},
		"no NUL":      {"user.avalue\x06\x0c", nil},
		"offset away": {"user.a\x00value\xff\x0d", nil},
		// Offsets of two bytes where one is enough.
		"wide offsets": {"a\x00" + strings.Repeat("1", 123) + "\x02" + "b\x00" + strings.Repeat("2", 123) + "\x02" + "\x7e\x00\xfc\x00", nil},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := objects.ParseXattrs([]byte(test.b))
			if !reflect.DeepEqual(x, test.want) || (err == nil) != (test.want != nil || test.b == "") {
				t.Fatalf("got %q, %v", x, err)
			}
			if err == nil && string(x.Marshal()) != test.b {
				t.Errorf("encoded again it is %q", x.Marshal())
			}
		})
	}
}

func FuzzXattrs(f *testing.F) {
	f.Add([]byte("user.a\x00value\x07\x0d"))
	f.Add([]byte("b\x001\x02a\x002\x02\x04\x08"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := objects.ParseXattrs(b); err == nil && !bytes.Equal(x.Marshal(), b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, x.Marshal())
		}
	})
}
