package rpmdb_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
)

// tag is one that a header is made of.
type tag struct {
	tag, kind, count uint32
	data             string
}

// header makes a package header.
func header(tags ...tag) []byte {
	var index, data []byte
	for _, t := range tags {
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
		for _, n := range []uint32{t.tag, t.kind, uint32(len(data)), t.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, t.data...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, index...), data...)
}

func numbers(n ...uint32) string {
	var b []byte
	for _, n := range n {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b)
}

// bash is the header of a package.
var bash = []tag{
	{1000, 6, 1, "bash\x00"},
	{1006, 4, 1, numbers(1700000000)},
	{1080, 4, 2, numbers(1600000000, 4000000000)},
	{1116, 4, 3, numbers(0, 1, 0)},
	{1117, 8, 3, "bash\x00bashrc\x00sh\x00"},
	{1118, 8, 2, "/usr/bin/\x00/etc/\x00"},
	{5000, 99, 1 << 31, "of no concern"},
}

func records(b []byte) (string, error) {
	h, err := rpmdb.ParseHeader(b)
	if err != nil {
		return "", err
	}
	var all bytes.Buffer
	out := bufio.NewWriter(&all)
	if err := errors.Join(h.WriteRecords(out), out.Flush()); err != nil {
		return "", err
	}
	return strings.ReplaceAll(all.String(), "\x00", "\n"), nil
}

func replaced(tags []tag, t tag) []byte {
	all := make([]tag, 0, len(tags))
	for _, old := range tags {
		if old.tag == t.tag {
			old = t
		}
		all = append(all, old)
	}
	return header(all...)
}

func TestHeader(t *testing.T) {
	const want = "Pbash\nB1700000000\nC1600000000\nC4000000000\nF/usr/bin/bash\nF/etc/bashrc\nF/usr/bin/sh\n"
	for name, b := range map[string][]byte{
		"plain":                 header(bash...),
		"data after its end":    append(header(bash...), make([]byte, 100)...),
		"a tag is there again":  header(append([]tag{{1000, 6, 1, "sh\x00"}}, bash...)...),
		"names as rpm 3 did it": header(bash[0], bash[1], bash[2], tag{1027, 8, 3, "/usr/bin/bash\x00/etc/bashrc\x00/usr/bin/sh\x00"}),
	} {
		if got, err := records(b); err != nil || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestBadHeader(t *testing.T) {
	cut := header(bash...)
	long := header(bash...)
	binary.BigEndian.PutUint32(long[4:], 1<<31)
	many := header(bash...)
	binary.BigEndian.PutUint32(many, 1<<31)
	outside := header(bash...)
	binary.BigEndian.PutUint32(outside[8+8:], 1<<31)
	for name, b := range map[string][]byte{
		"empty":                     {},
		"cut":                       cut[:len(cut)-1],
		"no tags":                   header(),
		"more data than there is":   long,
		"more tags than there are":  many,
		"an offset outside":         outside,
		"no name":                   header(bash[1:]...),
		"a name that does not end":  header(tag{1000, 6, 1, "bash"}),
		"a name of another type":    replaced(bash, tag{1000, 4, 1, "bash\x00"}),
		"more numbers than data":    replaced(bash, tag{1116, 4, 1 << 30, numbers(0, 1, 0)}),
		"more strings than data":    replaced(bash, tag{1117, 8, 1 << 31, "bash\x00bashrc\x00sh\x00"}),
		"fewer indexes than files":  replaced(bash, tag{1116, 4, 2, numbers(0, 1)}),
		"an index that leads out":   replaced(bash, tag{1116, 4, 3, numbers(0, 1, 2)}),
		"an index of a huge number": replaced(bash, tag{1116, 4, 3, numbers(0, 1, 1<<32-1)}),
	} {
		if got, err := records(b); err == nil {
			t.Errorf("%s: is taken as %s", name, got)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(header(bash...))
	f.Add(header(tag{1000, 6, 1, "x\x00"}, tag{1027, 8, 1, "/x\x00"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := records(b)
		if err == nil && !strings.HasPrefix(text, "P") {
			t.Errorf("records %q", text)
		}
	})
}
