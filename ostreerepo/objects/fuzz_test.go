package objects_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

func FuzzDirTree(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if tree, err := objects.ParseDirTree(b); err == nil && !bytes.Equal(tree.Marshal(), b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, tree.Marshal())
		}
	})
}

func FuzzDirMeta(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if meta, err := objects.ParseDirMeta(b); err == nil && !bytes.Equal(meta.Marshal(), b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, meta.Marshal())
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		commit, err := objects.ParseCommit(b)
		if err != nil {
			return
		}
		again, err := objects.ParseCommit(commit.Marshal())
		if err != nil || !reflect.DeepEqual(again, commit) {
			t.Errorf("%x was accepted, and is %x when encoded again (%v)", b, commit.Marshal(), err)
		}
		// Only the order of the metadata may change.
		if len(commit.Metadata) < 2 && !bytes.Equal(commit.Marshal(), b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, commit.Marshal())
		}
	})
}

func FuzzDict(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		dict, err := objects.ParseDict(b)
		if err != nil {
			return
		}
		again, err := objects.ParseDict(dict.Marshal())
		if err != nil || !reflect.DeepEqual(again, dict) {
			t.Errorf("%x was accepted, and is %x when encoded again (%v)", b, dict.Marshal(), err)
		}
		for _, v := range dict {
			checkAccessors(t, v)
		}
	})
}

// checkAccessors asserts that a value which can be read is the one that its constructor gives.
func checkAccessors(t *testing.T, v objects.Variant) {
	t.Helper()
	read := make(map[string]objects.Variant)
	if s, ok := v.AsString(); ok {
		read["s"] = objects.String(s)
	}
	if ss, ok := v.AsStrings(); ok {
		read["as"] = objects.Strings(ss)
	}
	if n, ok := v.AsUint64(); ok {
		read["t"] = objects.Uint64(n)
	}
	if b, ok := v.AsBool(); ok {
		read["b"] = objects.Bool(b)
	}
	if m, ok := v.AsCounts(); ok {
		read["a{su}"] = objects.Counts(m)
	}
	for kind, again := range read {
		if kind != v.Type || again.Type != v.Type || !bytes.Equal(again.Data, v.Data) {
			t.Errorf("%v was read as %s, and is %v when made again", v, kind, again)
		}
	}
}

func FuzzArchiveHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		h, size, err := objects.ParseArchiveHeader(b)
		if err == nil && !bytes.Equal(h.ArchivePrefix(size)[8:], b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, h.ArchivePrefix(size)[8:])
		}
	})
}

func FuzzBareUserMeta(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := objects.ParseBareUserMeta(b); err == nil && !bytes.Equal(h.BareUserMeta(), b) {
			t.Errorf("%x was accepted, and is %x when encoded again", b, h.BareUserMeta())
		}
	})
}
