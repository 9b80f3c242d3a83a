package child_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb/child"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestMain lets this program be the child.
func TestMain(m *testing.M) {
	child.Run()
	os.Exit(m.Run())
}

// read reads a database of one file.
func read(ctx context.Context, t *testing.T, name string, content []byte) (records string, err error) {
	t.Helper()
	needs.Root(t)
	reader := rpmdb.Reader{User: &command.User{UID: 65534, GID: 65534}}
	var all strings.Builder
	err = reader.Read(ctx, name,
		func(dir string, _ int64) error { return os.WriteFile(filepath.Join(dir, name), content, 0o600) },
		func(kind rpmdb.Kind, value string) error {
			fmt.Fprintf(&all, "%c%s ", kind, value)
			return nil
		})
	return all.String(), err
}

// header is that of a package "x" without files.
func header() []byte {
	b := binary.BigEndian.AppendUint32(nil, 1) // tags
	b = binary.BigEndian.AppendUint32(b, 2)    // bytes of data
	for _, n := range []uint32{1000, 6, 0, 1} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, "x\x00"...)
}

const pageSize = 512

// berkeley makes a database with one package, whose header is on page 2. next is the page after
// that, 0 for none, and kind its type; 7 is that of pages that hold data.
func berkeley(next uint32, kind byte) []byte {
	b := make([]byte, 3*pageSize)
	put := func(at int, n uint32) { binary.LittleEndian.PutUint32(b[at:], n) }
	put(12, 0x61561) // magic number of a hash
	put(16, 9)       // version
	put(20, pageSize)
	b[25] = 8  // type of page 0
	put(32, 1) // last page that is looked at
	page := b[pageSize:]
	binary.LittleEndian.PutUint16(page[20:], 2)   // a key and a value
	page[25] = 13                                 // type
	binary.LittleEndian.PutUint16(page[26:], 500) // the key
	binary.LittleEndian.PutUint16(page[28:], 400) // the value
	page[400] = 3                                 // which is elsewhere
	binary.LittleEndian.PutUint32(page[404:], 2)
	page = b[2*pageSize:]
	binary.LittleEndian.PutUint32(page[16:], next)
	h := header()
	binary.LittleEndian.PutUint16(page[22:], uint16(len(h)))
	page[25] = kind
	copy(page[26:], h)
	return b
}

// ndb makes a database with one package, whose header is said to have length bytes.
func ndb(length uint32) []byte {
	const blob = 4096
	var b []byte
	for _, n := range []uint32{'R' | 'p'<<8 | 'm'<<16 | 'P'<<24, 0, 1, 1, 0, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for i := range uint32(254) {
		for _, n := range []uint32{'S' | 'l'<<8 | 'o'<<16 | 't'<<24, 1 - min(i, 1), blob / 16, 1} {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	for _, n := range []uint32{'B' | 'l'<<8 | 'b'<<16 | 'S'<<24, 1, 0, length} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, header()...)
}

func TestFormats(t *testing.T) {
	for name, content := range map[string][]byte{
		rpmdb.BerkeleyDB: berkeley(0, 7),
		rpmdb.NDB:        ndb(uint32(len(header()))),
	} {
		if got, err := read(t.Context(), t, name, content); err != nil || got != "Px B0 " {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestHostile has databases that crash the libraries, or make them take all memory.
func TestHostile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for title, test := range map[string]struct {
		name    string
		content []byte
		want    string // in the error; what is behind a bar is the race detector's word for it
	}{
		"a cycle of pages":           {rpmdb.BerkeleyDB, berkeley(2, 7), "take too much memory|failed to allocate"},
		"a value outside its page":   {rpmdb.BerkeleyDB, append(append(berkeley(0, 7)[:pageSize+28], 0xff, 0xff), berkeley(0, 7)[pageSize+30:]...), "malformed"},
		"more than there is":         {rpmdb.NDB, ndb(1 << 31), ""},
		"headers of more than 4 GiB": {rpmdb.NDB, ndb(1<<32 - 1), ""},
		"not what its name says":     {rpmdb.SQLite, berkeley(0, 7), "invalid or unsupported SQLite3 format"},
		"empty":                      {rpmdb.SQLite, nil, "EOF"},
		"another file":               {"passwd", header(), "no name of an RPM database"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := read(ctx, t, test.name, test.content)
			var failed *command.Error
			wanted := func(text string) bool { return strings.Contains(err.Error(), text) }
			if !errors.As(err, &failed) || !slices.ContainsFunc(strings.Split(test.want, "|"), wanted) || len(err.Error()) > 2000 {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestEndless is stopped: its page leads nowhere, and the library looks at it again and again.
func TestEndless(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	timer := time.AfterFunc(time.Second, func() { cancel(stopped) })
	defer timer.Stop()
	if _, err := read(ctx, t, rpmdb.BerkeleyDB, berkeley(0, 5)); !errors.Is(err, stopped) {
		t.Errorf("%v", err)
	}
}

// TestNothingIsLeft has no directory of a child after its end.
func TestNothingIsLeft(t *testing.T) {
	needs.Root(t) // others' directories may be there, too
	var dir string
	reader := rpmdb.Reader{User: &command.User{UID: 65534, GID: 65534}}
	err := reader.Read(t.Context(), rpmdb.NDB, func(in string, _ int64) error {
		dir = in
		return os.WriteFile(filepath.Join(dir, rpmdb.NDB), ndb(26), 0o600)
	}, func(rpmdb.Kind, string) error { return errors.New("enough") })
	if err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
}
