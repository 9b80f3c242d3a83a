package objects_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const someSum = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" // the empty dirtree

func TestChecksum(t *testing.T) {
	sum := objects.ChecksumOf(objects.DirTree{}.Marshal())
	if sum.String() != someSum {
		t.Errorf("the empty dirtree is %v", sum)
	}
	if (objects.Checksum{}).IsZero() == false || sum.IsZero() {
		t.Error("IsZero is wrong")
	}
	text, err := json.Marshal(map[string]objects.Checksum{"sum": sum})
	if err != nil || string(text) != `{"sum":"`+someSum+`"}` {
		t.Errorf("JSON is %s, %v", text, err)
	}
	for name, text := range map[string]string{
		"empty": "", "short": someSum[1:], "long": someSum + "0", "upper case": strings.ToUpper(someSum),
		"not hexadecimal": strings.Replace(someSum, "6e", "6g", 1), "white space": someSum[:63] + "\n",
	} {
		if c, err := objects.ParseChecksum(text); err == nil || !c.IsZero() {
			t.Errorf("%s: %q is %v, %v", name, text, c, err)
		}
	}
	if c, err := objects.ParseChecksum(someSum); err != nil || c != sum {
		t.Errorf("%s is %v, %v", someSum, c, err)
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", ".a", "...", "a b", "ünï", "\n", strings.Repeat("n", 255), ".wh..wh..opq"} {
		if err := objects.ValidName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00", "\xff", "\xc3", strings.Repeat("n", 256)} {
		if objects.ValidName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestCanonicalXattrs(t *testing.T) {
	attr := func(name, value string) objects.Xattr { return objects.Xattr{Name: name, Value: []byte(value)} }
	for _, test := range []struct {
		name     string
		in, want objects.Xattrs
	}{
		{"none", nil, nil},
		{"empty", objects.Xattrs{}, nil},
		{"sorted by bytes", objects.Xattrs{attr("b", "1"), attr("a.b", "2"), attr("B", "3"), attr("a", "4")},
			objects.Xattrs{attr("B", "3"), attr("a", "4"), attr("a.b", "2"), attr("b", "1")}},
		{"the last of one name", objects.Xattrs{attr("b", "1"), attr("a", "2"), attr("b", "3"), attr("a", "4")},
			objects.Xattrs{attr("a", "4"), attr("b", "3")}},
		{"empty values", objects.Xattrs{attr("c", "1"), attr("b", ""), attr("a", "2"), attr("a", "")}, objects.Xattrs{attr("c", "1")}},
		{"only empty values", objects.Xattrs{attr("a", "")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := fmt.Sprint(test.in)
			if got := test.in.Canonical(); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %s instead of %s", got, test.want)
			}
			if fmt.Sprint(test.in) != before {
				t.Error("the receiver has changed")
			}
		})
	}
}

func TestFileHeaderValid(t *testing.T) {
	attr := func(name string) objects.Xattrs { return objects.Xattrs{{Name: name}} }
	for _, test := range []struct {
		name string
		h    objects.FileHeader
		ok   bool
	}{
		{"file", objects.FileHeader{Mode: 0o100644}, true},
		{"set-uid", objects.FileHeader{Mode: 0o104755, Xattrs: attr("user.a")}, true},
		{"symlink", objects.FileHeader{Mode: 0o120777, Target: "a"}, true},
		{"no type", objects.FileHeader{Mode: 0o644}, false},
		{"directory", objects.FileHeader{Mode: 0o040755}, false},
		{"fifo", objects.FileHeader{Mode: 0o010644}, false},
		{"unknown mode bits", objects.FileHeader{Mode: 0o1100644}, false},
		{"file with target", objects.FileHeader{Mode: 0o100644, Target: "a"}, false},
		{"symlink without target", objects.FileHeader{Mode: 0o120777}, false},
		{"target not UTF-8", objects.FileHeader{Mode: 0o120777, Target: "\xff"}, false},
		{"target with NUL", objects.FileHeader{Mode: 0o120777, Target: "a\x00"}, false},
		{"target too long", objects.FileHeader{Mode: 0o120777, Target: strings.Repeat("t", 4096)}, false},
		{"nameless attribute", objects.FileHeader{Mode: 0o100644, Xattrs: attr("")}, false},
		{"attribute with NUL", objects.FileHeader{Mode: 0o100644, Xattrs: attr("user.\x00")}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.h.Valid(); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDirTreeRefuses(t *testing.T) {
	file := func(name string) objects.TreeFile { return objects.TreeFile{Name: name} }
	dir := func(name string) objects.TreeDir { return objects.TreeDir{Name: name} }
	for _, test := range []struct {
		name string
		tree objects.DirTree
	}{
		{"slash", objects.DirTree{Files: []objects.TreeFile{file("a/b")}}},
		{"dot", objects.DirTree{Dirs: []objects.TreeDir{dir(".")}}},
		{"dot dot", objects.DirTree{Dirs: []objects.TreeDir{dir("..")}}},
		{"empty name", objects.DirTree{Files: []objects.TreeFile{file("")}}},
		{"not UTF-8", objects.DirTree{Files: []objects.TreeFile{file("\xff")}}},
		{"files not sorted", objects.DirTree{Files: []objects.TreeFile{file("b"), file("a")}}},
		{"dirs not sorted", objects.DirTree{Dirs: []objects.TreeDir{dir("b"), dir("a")}}},
		{"file twice", objects.DirTree{Files: []objects.TreeFile{file("a"), file("a")}}},
		{"file and dir of one name", objects.DirTree{Files: []objects.TreeFile{file("a"), file("b")}, Dirs: []objects.TreeDir{dir("b")}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if tree, err := objects.ParseDirTree(test.tree.Marshal()); err == nil {
				t.Errorf("%v is accepted", tree)
			}
		})
	}
}

// TestRefusesDamage flips, cuts and extends objects byte by byte: what is still accepted must be
// another object, not this one.
func TestRefusesDamage(t *testing.T) {
	sum := objects.ChecksumOf(nil)
	xattrs := objects.Xattrs{{Name: "user.a", Value: []byte("1")}, {Name: "user.b"}}
	for kind, whole := range map[objects.Kind][]byte{
		objects.KindDirTree: objects.DirTree{
			Files: []objects.TreeFile{{Name: "a", Checksum: sum}, {Name: "c", Checksum: sum}},
			Dirs:  []objects.TreeDir{{Name: "b", Tree: sum, Meta: sum}},
		}.Marshal(),
		objects.KindDirMeta: objects.DirMeta{Mode: 0o040755, Xattrs: xattrs}.Marshal(),
		objects.KindCommit: objects.Commit{
			Metadata: objects.Dict{"a": objects.String("text")},
			Parent:   sum, Subject: "subject", Body: "body", Timestamp: 1, Tree: sum, Meta: sum,
		}.Marshal(),
	} {
		check := func(damage string, b []byte) {
			t.Helper()
			if again, err := roundTrip(kind, b); err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s, %s: %x is accepted, and is %x when encoded again", kind, damage, b, again)
			}
		}
		if again, err := roundTrip(kind, whole); err != nil || !bytes.Equal(again, whole) {
			t.Fatalf("%s: %v", kind, err)
		}
		for i := range whole {
			check(fmt.Sprintf("cut to %d bytes", i), bytes.Clone(whole[:i]))
			for bit := range 8 {
				flipped := bytes.Clone(whole)
				flipped[i] ^= 1 << bit
				check(fmt.Sprintf("bit %d of byte %d", bit, i), flipped)
			}
		}
		for _, end := range []byte{0, 1, 0xff} {
			check("a byte more", append(bytes.Clone(whole), end))
		}
	}
}

func TestDirMetaRefusesModes(t *testing.T) {
	for _, mode := range []uint32{0, 0o755, 0o100755, 0o120777, 0o1040755} {
		if _, err := objects.ParseDirMeta(objects.DirMeta{Mode: mode}.Marshal()); err == nil {
			t.Errorf("mode %#o is accepted", mode)
		}
	}
}

// TestBoundedAllocation feeds arrays that claim as many elements as they have bytes.
func TestBoundedAllocation(t *testing.T) {
	const size = 1 << 20
	hostile := make([]byte, size) // its offsets are all 0: nothing but offsets, 4 bytes each
	for name, parse := range map[string]func([]byte) error{
		"dict":    func(b []byte) error { _, err := objects.ParseDict(b); return err },
		"dirmeta": func(b []byte) error { _, err := objects.ParseDirMeta(b); return err },
		"dirtree": func(b []byte) error { _, err := objects.ParseDirTree(b); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := parse(hostile)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > size {
			t.Errorf("%s: %d bytes were allocated for %d", name, n, size)
		}
	}
}

func TestVariants(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, s := range []string{"", "a", "ünï", long} {
		if got, ok := objects.String(s).AsString(); !ok || got != s {
			t.Errorf("%q is %q, %v", s, got, ok)
		}
	}
	for _, ss := range [][]string{{}, {""}, {"", ""}, {"a", "", "ccc"}, {long, "b"}} {
		if got, ok := objects.Strings(ss).AsStrings(); !ok || !reflect.DeepEqual(got, ss) {
			t.Errorf("%q is %q, %v", ss, got, ok)
		}
	}
	for _, m := range []map[string]uint32{{}, {"": 1}, {"a": 1, "bcd": 2, "efghi": 1<<32 - 1}, {long: 3, "b": 4}} {
		if got, ok := objects.Counts(m).AsCounts(); !ok || !reflect.DeepEqual(got, m) {
			t.Errorf("%v is %v, %v", m, got, ok)
		}
	}
	for _, n := range []uint64{0, 1, 1<<64 - 1} {
		if got, ok := objects.Uint64(n).AsUint64(); !ok || got != n {
			t.Errorf("%d is %d, %v", n, got, ok)
		}
	}
	for _, b := range []bool{false, true} {
		if got, ok := objects.Bool(b).AsBool(); !ok || got != b {
			t.Errorf("%v is %v, %v", b, got, ok)
		}
	}
}

func TestVariantsRefuse(t *testing.T) {
	for _, v := range []objects.Variant{
		{}, {Type: "s"}, {Type: "s", Data: []byte("a")}, {Type: "s", Data: []byte("a\x00b\x00")}, {Type: "s", Data: []byte("\xff\x00")},
		{Type: "t", Data: []byte{1}}, {Type: "b", Data: []byte{2}}, {Type: "b"}, {Type: "as", Data: []byte{9}},
		{Type: "as", Data: []byte("a\x00\x00\x02")}, {Type: "a{su}", Data: []byte("abc")}, {Type: "ay", Data: []byte("a\x00")},
	} {
		_, s := v.AsString()
		_, ss := v.AsStrings()
		_, n := v.AsUint64()
		_, b := v.AsBool()
		_, m := v.AsCounts()
		if s || ss || n || b || m {
			t.Errorf("%v can be read: %v %v %v %v %v", v, s, ss, n, b, m)
		}
	}
}

// TestVariantTypes is about which type strings a dictionary may hold.
func TestVariantTypes(t *testing.T) {
	for typ, ok := range map[string]bool{
		"s": true, "a{sv}": true, "()": true, "(s)": true, "(sa(ii)v)": true, "maas": true, "a{s(ay)}": true,
		"": false, "a": false, "m": false, "ss": false, "(": false, ")": false, "(s": false, "{sv": false, "a{vs}": false, "a{s}": false,
		"a{sss}": false, "a{": false, "z": false, "r": false, "*": false, strings.Repeat("a", 100) + "s": false,
	} {
		_, err := objects.ParseDict(objects.Dict{"key": {Type: typ, Data: []byte("x")}}.Marshal())
		if (err == nil) != ok {
			t.Errorf("%q: %v", typ, err)
		}
	}
}

func TestDictRefusesDuplicates(t *testing.T) {
	b := objects.Dict{"a": objects.Bool(true), "b": objects.Bool(false)}.Marshal()
	if _, err := objects.ParseDict(b); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.ParseDict(bytes.ReplaceAll(b, []byte("b\x00\x00"), []byte("a\x00\x00"))); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkParseDirTree(b *testing.B) {
	var tree objects.DirTree
	for i := range 2000 {
		tree.Files = append(tree.Files, objects.TreeFile{Name: fmt.Sprintf("name-of-a-file-%05d", i)})
	}
	whole := tree.Marshal()
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := objects.ParseDirTree(whole); err != nil {
			b.Fatal(err)
		}
	}
}
