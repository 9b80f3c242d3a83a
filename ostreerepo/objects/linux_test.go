package objects_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// randomCapability makes a value that Linux takes about every other time.
func randomCapability(r *rand.Rand) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pick(r, uint32(0x02000000), 0x02000001, 0x03000000, 0x03000001, 0x01000000, 0x02000002, 0))
	size := 20
	if b[3] == 3 {
		size = 24
	}
	for len(b) < size {
		b = binary.LittleEndian.AppendUint32(b, pick(r, uint32(0), 1<<13, 1000, r.Uint32(), 1<<32-1))
	}
	return spoil(r, b)
}

// randomACL makes a value that Linux takes about every other time.
func randomACL(r *rand.Rand) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	add := func(tag uint16, id uint32) {
		if r.IntN(40) == 0 {
			return
		}
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(r.IntN(8)))
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	named := 0
	add(objects.ACLOwner, pick(r, 0, 1<<32-1, uint32(7)))
	for range pick(r, 0, 0, 1, 2) {
		add(objects.ACLUser, uint32(r.IntN(3)))
		named++
	}
	add(objects.ACLOwningGroup, pick(r, 0, 1<<32-1, uint32(7)))
	for range pick(r, 0, 0, 1, 2) {
		add(objects.ACLGroup, uint32(r.IntN(3)))
		named++
	}
	if named > 0 || r.IntN(3) == 0 {
		add(objects.ACLMask, pick(r, 0, uint32(1<<32-1)))
	}
	add(objects.ACLOther, pick(r, 0, uint32(1<<32-1)))
	return spoil(r, b)
}

// spoil changes a value now and then.
func spoil(r *rand.Rand, b []byte) []byte {
	switch r.IntN(8) {
	case 0:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 1:
		b = b[:r.IntN(len(b))]
	case 2:
		b = append(b, make([]byte, r.IntN(10))...)
	}
	return b
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// oracle makes a file, a directory and a symlink, and returns their paths by their file types.
func oracle(t *testing.T) map[uint32]string {
	t.Helper()
	needs.Root(t)
	dir := t.TempDir()
	paths := map[uint32]string{
		unix.S_IFREG: filepath.Join(dir, "file"), unix.S_IFDIR: filepath.Join(dir, "directory"), unix.S_IFLNK: filepath.Join(dir, "link"),
	}
	err := os.WriteFile(paths[unix.S_IFREG], nil, 0o644)
	if err == nil {
		err = os.Mkdir(paths[unix.S_IFDIR], 0o755)
	}
	if err == nil {
		err = os.Symlink("target", paths[unix.S_IFLNK])
	}
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestCheckLinux asks the kernel about random values and wants the same answers.
func TestCheckLinux(t *testing.T) {
	paths := oracle(t)
	r := rand.New(rand.NewPCG(1, 2))
	makers := map[string]func(*rand.Rand) []byte{
		objects.XattrCapability: randomCapability, objects.XattrAccessACL: randomACL, objects.XattrDefaultACL: randomACL,
		"user.a": func(*rand.Rand) []byte { return []byte("1") }, "trusted.a": func(*rand.Rand) []byte { return []byte("1") },
	}
	for name, value := range makers {
		taken := 0
		for range 1000 {
			value := value(r)
			if len(value) == 0 {
				continue
			}
			for fileType, path := range paths {
				linux := unix.Lsetxattr(path, name, value, 0)
				ours := objects.Xattrs{{Name: name, Value: value}}.CheckLinux(fileType | 0o644)
				if (linux == nil) != (ours == nil) {
					t.Fatalf("%s = %x on %s: Linux says %v, we say %v", name, value, filepath.Base(path), linux, ours)
				}
				if linux == nil {
					taken++
				}
			}
		}
		t.Logf("%s was taken %d times", name, taken)
	}
}

// TestCanonical gives files and directories random modes and attributes, and wants Linux to give
// back the canonical form.
func TestCanonical(t *testing.T) {
	paths := oracle(t)
	r := rand.New(rand.NewPCG(3, 4))
	makers := map[string]func(*rand.Rand) []byte{
		objects.XattrCapability: randomCapability, objects.XattrAccessACL: randomACL, objects.XattrDefaultACL: randomACL,
	}
	changed := 0
	for range 2000 {
		fileType := pick(r, uint32(unix.S_IFREG), unix.S_IFDIR)
		given := objects.FileHeader{Mode: fileType | r.Uint32N(0o10000)}
		for name, value := range makers {
			attr := objects.Xattr{Name: name, Value: value(r)}
			if r.IntN(2) == 0 && len(attr.Value) > 0 && (objects.Xattrs{attr}).CheckLinux(fileType) == nil {
				given.Xattrs = append(given.Xattrs, attr)
			}
		}
		want := fromLinux(t, paths[fileType], given)
		got, err := given.Canonical()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%o %x: got %o %x, %v; Linux gives back %o %x", given.Mode, given.Xattrs, got.Mode, got.Xattrs, err, want.Mode, want.Xattrs)
		}
		if again, err := got.Canonical(); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%o %x: again it is %o %x, %v", given.Mode, given.Xattrs, again.Mode, again.Xattrs, err)
		}
		if !reflect.DeepEqual(got, given) {
			changed++
		}
	}
	t.Logf("%d of 2000 are not canonical", changed)
}

// fromLinux gives mode and attributes to a file and reads them back.
func fromLinux(t *testing.T, path string, h objects.FileHeader) objects.FileHeader {
	t.Helper()
	names := []string{objects.XattrCapability, objects.XattrAccessACL, objects.XattrDefaultACL}
	for _, name := range names {
		_ = unix.Removexattr(path, name) // which it may not have
	}
	if err := unix.Chmod(path, h.Mode&0o7777); err != nil {
		t.Fatal(err)
	}
	for _, attr := range h.Xattrs {
		if err := unix.Setxattr(path, attr.Name, attr.Value, 0); err != nil {
			t.Fatal(err)
		}
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	got := objects.FileHeader{Mode: stat.Mode}
	for _, name := range names {
		b := make([]byte, 1000)
		if n, err := unix.Getxattr(path, name, b); err == nil {
			got.Xattrs = append(got.Xattrs, objects.Xattr{Name: name, Value: b[:n]})
		}
	}
	return got
}

func TestCheckLinuxBounds(t *testing.T) {
	for want, attr := range map[string]objects.Xattr{
		"more than 255":   {Name: "user." + strings.Repeat("n", objects.MaxXattrName), Value: []byte("1")},
		"more than 65536": {Name: "user.a", Value: make([]byte, objects.MaxXattrValue+1)},
		"4294967295":      {Name: objects.XattrCapability, Value: []byte("\x00\x00\x00\x03" + strings.Repeat("\x00", 16) + "\xff\xff\xff\xff")},
	} {
		err := objects.Xattrs{attr}.CheckLinux(unix.S_IFREG)
		if err == nil || !strings.Contains(err.Error(), attr.Name[:6]) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := (objects.Xattrs{{Name: objects.XattrCapability}}).CheckLinux(unix.S_IFREG); err != nil {
		t.Errorf("without a value: %v", err)
	}
}
