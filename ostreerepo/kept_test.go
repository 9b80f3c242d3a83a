package ostreerepo_test

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// accessList makes an access control list of tags and permissions, each with the ID 5.
func accessList(entries ...uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for ; len(entries) > 0; entries = entries[2:] {
		b = binary.LittleEndian.AppendUint16(b, entries[0])
		b = binary.LittleEndian.AppendUint16(b, entries[1])
		b = binary.LittleEndian.AppendUint32(b, 5)
	}
	return b
}

func withAttr(mode uint32, name string, value []byte) objects.FileHeader {
	return objects.FileHeader{Mode: unix.S_IFREG | mode, Xattrs: objects.Xattrs{{Name: name, Value: value}}}
}

// odd are headers that Linux changes when a file is made of them.
var odd = map[string]objects.FileHeader{
	"capability of user 0": withAttr(0o755, objects.XattrCapability, []byte("\x01\x00\x00\x03\x00\x20\x00\x00"+strings.Repeat("\x00", 16))),
	"list like the mode":   withAttr(0o644, objects.XattrAccessACL, accessList(1, 6, 4, 4, 32, 4)),
	"list unlike the mode": withAttr(0o4600, objects.XattrAccessACL, accessList(1, 7, 4, 5, 32, 1)),
	"mask":                 withAttr(0o644, objects.XattrAccessACL, accessList(1, 6, 2, 6, 4, 4, 16, 7, 32, 4)),
	"IDs":                  withAttr(0o664, objects.XattrAccessACL, accessList(1, 6, 4, 4, 8, 4, 16, 6, 32, 4)),
	"empty list":           withAttr(0o644, objects.XattrAccessACL, accessList()),
	"empty default list":   withAttr(0o644, objects.XattrDefaultACL, accessList()),
}

// TestOddFiles writes headers that are not canonical, and wants the same sound object in every
// mode.
func TestOddFiles(t *testing.T) {
	needs.Root(t)
	first := make(map[string]objects.Checksum)
	for _, mode := range modes {
		repo := newRepo(t, mode)
		s := newStaging(t, repo)
		var files []objects.Checksum
		for name, h := range odd {
			c, err := s.WriteFile(h, 1, strings.NewReader("x"))
			if err != nil {
				t.Fatalf("%s, %s: %v", mode, name, err)
			}
			if want, known := first[name]; known && c != want {
				t.Errorf("%s: %s has another checksum", mode, name)
			}
			first[name] = c
			files = append(files, c)
		}
		landFiles(t, s, files...)
		for name, h := range odd {
			c, err := repo.NewTrial().WriteCopy(first[name], h)
			if err != nil || c != first[name] {
				t.Errorf("%s: a trial gives %s the checksum %s, %v", mode, name, c, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkClean(t, repo)
	}
}

// TestOddDirectories writes directories whose lists are not canonical.
func TestOddDirectories(t *testing.T) {
	list := objects.Xattr{Name: objects.XattrAccessACL, Value: accessList(1, 7, 4, 5, 32, 0)}
	inherited := objects.Xattr{Name: objects.XattrDefaultACL, Value: accessList(1, 7, 4, 5, 32, 0)}
	s := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	c, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR | 0o1777, Xattrs: objects.Xattrs{list, inherited}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.DirMeta(c)
	if err != nil || m.Mode != unix.S_IFDIR|0o1750 || len(m.Xattrs) != 1 || m.Xattrs[0].Name != objects.XattrDefaultACL {
		t.Errorf("the directory has %o %q, %v", m.Mode, m.Xattrs, err)
	}
	if _, err := s.WriteDirMeta(objects.DirMeta{Mode: unix.S_IFDIR, Xattrs: objects.Xattrs{{Name: list.Name, Value: []byte{2}}}}); !errors.Is(err, ostreerepo.ErrInvalid) {
		t.Errorf("a list of no form: %v", err)
	}
}

// TestOddFilesAs takes over the same headers as they are, which a bare repository cannot.
func TestOddFilesAs(t *testing.T) {
	needs.Root(t)
	for _, mode := range modes {
		repo := newRepo(t, mode)
		s := newStaging(t, repo)
		for name, h := range odd {
			c := objects.ChecksumOf(append(h.ChecksumPrefix(), 'x'))
			err := s.WriteFileAs(c, h, 1, strings.NewReader("x"))
			if mode == ostreerepo.ModeBare {
				if !errors.Is(err, ostreerepo.ErrInvalid) || !strings.Contains(err.Error(), h.Xattrs[0].Name) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s, %s: %v", mode, name, err)
			}
			if name == "mask" {
				landFiles(t, s, c)
				pullOdd(t, repo)
			}
		}
	}
}

// pullOdd pulls the file /a, which is odd, into repositories of all modes.
func pullOdd(t *testing.T, from *ostreerepo.Repo) {
	t.Helper()
	for _, mode := range modes {
		to := newRepo(t, mode)
		err := to.Pull(t.Context(), from, []string{"files"})
		switch {
		case mode != ostreerepo.ModeBare && err != nil:
			t.Errorf("to %s: %v", mode, err)
		case mode == ostreerepo.ModeBare && (!errors.Is(err, ostreerepo.ErrInvalid) || !strings.Contains(err.Error(), "/a: ")):
			t.Errorf("to %s: %v", mode, err)
		}
		checkClean(t, to)
	}
}

// TestNotKept has Linux give a list to every file of a repository.
func TestNotKept(t *testing.T) {
	needs.Root(t)
	repo := newRepo(t, ostreerepo.ModeBare)
	inherited := accessList(1, 7, 2, 6, 4, 4, 16, 7, 32, 4)
	if err := unix.Setxattr(filepath.Join(repo.Path(), "tmp"), objects.XattrDefaultACL, inherited, 0); err != nil {
		t.Fatal(err)
	}
	s := newStaging(t, repo)
	for _, size := range []int64{1, 2 << 20} {
		_, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, size, strings.NewReader(strings.Repeat("x", int(size))))
		if !errors.Is(err, ostreerepo.ErrNotKept) || !strings.Contains(err.Error(), objects.XattrAccessACL) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	checkNoFiles(t, repo)
	if _, err := s.WriteSymlink(objects.FileHeader{Target: "x"}); err != nil {
		t.Error(err)
	}
}
