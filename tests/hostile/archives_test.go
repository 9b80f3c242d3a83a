//go:build hostile

package hostile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// imageRow is a row for an image of plain layers.
func imageRow(name, want, says string, layers ...[]byte) row {
	spec := ociimage.Spec{}
	for _, l := range layers {
		spec.Layers = append(spec.Layers, ociimage.Layer{Tar: l, Compression: ociimage.None})
	}
	return specRow(name, want, says, spec)
}

// specRow is a row for an image in an OCI layout.
func specRow(name, want, says string, spec ociimage.Spec) row {
	return row{name: name, want: want, says: says, ask: func(t *testing.T, s *stage) error {
		return s.pull(layoutOf(t, spec), nil)
	}}
}

// layoutOf writes an image and returns the reference to it.
func layoutOf(t *testing.T, spec ociimage.Spec) string {
	img, err := spec.Build()
	if err != nil {
		panic(err) // not the attack's goroutine's to end the test
	}
	dir := t.TempDir()
	if err := img.WriteLayout(dir, "t"); err != nil {
		panic(err)
	}
	return "oci:" + dir + ":t"
}

// entry is a header with content.
type entry struct {
	tar.Header
	content string
}

func file(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func link(kind byte, name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o777}}
}

func special(kind byte) entry {
	return entry{Header: tar.Header{Name: "usr/special", Typeflag: kind, Mode: 0o666, Devmajor: 1, Devminor: 3}}
}

// withXattr is a file with an extended attribute.
func withXattr(name, value string) entry {
	e := file("usr/f")
	e.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return e
}

// archive writes entries.
func archive(entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(fmt.Sprintf("%q: %v", e.Name, err))
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// block is a header of an entry as it stands in an archive, with fields (offsets and contents) that
// no writer writes, and a checksum that fits.
func block(kind byte, name string, size int, fields map[int]string) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        %c", 0o644, 0, 0, size, 0, kind))
	copy(b[257:], "ustar\x0000")
	for at, text := range fields {
		copy(b[at:], text)
	}
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// Offsets of fields in a header.
const (
	atMode  = 100
	atUID   = 108
	atSize  = 124
	atTime  = 136
	atMagic = 257
	atMajor = 329
)

// padded fills content up to whole blocks.
func padded(content string) []byte {
	return append([]byte(content), make([]byte, (512-len(content)%512)%512)...)
}

// paxed is an archive with one file whose extended header has this content.
func paxed(records string) []byte {
	return bytes.Join([][]byte{block('x', "pax", len(records), nil), padded(records), block('0', "usr/f", 0, nil), make([]byte, 1024)}, nil)
}

// record is a record of an extended header with a right length.
func record(key, value string) string {
	rest := fmt.Sprintf(" %s=%s\n", key, value)
	for n := len(rest); ; n++ {
		if text := fmt.Sprint(n) + rest; len(text) == n {
			return text
		}
	}
}

// sparse is an entry of GNU's format 1.0, whose map stands before the content.
func sparse(realSize, sparseMap string) []byte {
	body := padded(sparseMap)
	records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "usr/f") + record("GNU.sparse.realsize", realSize)
	return bytes.Join([][]byte{block('x', "pax", len(records), nil), padded(records), block('0', "GNUSparseFile.0/usr/f", len(body), nil), body, make([]byte, 1024)}, nil)
}

// archiveRows are about the format of archives.
func archiveRows() []row {
	const bad, wrong = "UnsupportedImage", "DigestMismatch"
	end := make([]byte, 1024)
	good := archive(file("usr/f"))
	damaged := bytes.Clone(good)
	damaged[150] ^= 1
	rows := []row{
		imageRow("no bytes", "", "", nil),
		imageRow("only the end of an archive", "", "", end),
		imageRow("half a header", bad, "", good[:300]),
		imageRow("an entry cut off", wrong, "", archive(entry{Header: tar.Header{Name: "usr/f", Mode: 0o644}, content: strings.Repeat("x", 5000)})[:2048]),
		imageRow("a wrong checksum", bad, "", damaged),
		imageRow("no archive", bad, "", bytes.Repeat([]byte("neither tar nor compressed "), 1000)),
		imageRow("noise behind the end", "", "", append(bytes.Clone(good), bytes.Repeat([]byte("noise "), 10_000)...)),
		imageRow("a negative size", bad, "", append(block('0', "usr/f", 0, map[int]string{atSize: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}), end...)),
		imageRow("a size beyond 64 bits", bad, "", append(block('0', "usr/f", 0, map[int]string{atSize: "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}), end...)),
		imageRow("a size of 8 EiB", "NoSpace", "", append(block('0', "usr/f", 0, map[int]string{atSize: "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"}), end...)),
		imageRow("a size that is no number", bad, "", append(block('0', "usr/f", 0, map[int]string{atSize: "99999999999\x00"}), end...)),
		imageRow("a negative owner", bad, "", append(block('0', "usr/f", 0, map[int]string{atUID: "\xff\xff\xff\xff\xff\xff\xff\xff"}), end...)),
		imageRow("an owner of 40 bits", bad, "", append(block('0', "usr/f", 0, map[int]string{atUID: "\x80\x00\x00\xff\xff\xff\xff\xff"}), end...)),
		imageRow("a mode that is no number", bad, "", append(block('0', "usr/f", 0, map[int]string{atMode: "rwxr-xr"}), end...)),
		imageRow("a mode with bits of a file type", "", "", append(block('0', "usr/f", 0, map[int]string{atMode: "7777777"}), end...)),
		imageRow("a time out of range", bad, "", append(block('0', "usr/f", 0, map[int]string{atTime: "\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}), end...)),
		imageRow("a time before all others", "", "", append(block('0', "usr/f", 0, map[int]string{atTime: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"}), end...)),
		imageRow("a device number beyond all", bad, "", append(block('3', "usr/f", 0, map[int]string{atMajor: "\x80\xff\xff\xff\xff\xff\xff\xff"}), end...)),
		imageRow("an entry of an unknown type", "UnsupportedImage", "", append(block('Z', "usr/f", 0, nil), end...)),
		imageRow("a directory of an incremental archive", bad, "", append(block('D', "usr/f", 0, nil), end...)),
		imageRow("a volume label", "UnsupportedImage", "", append(block('V', "volume", 0, nil), end...)),
		imageRow("the rest of another volume", bad, "", append(block('M', "usr/f", 0, nil), end...)),
		imageRow("another magic", "", "", append(block('0', "usr/f", 0, map[int]string{atMagic: "USTAR\x0099"}), end...)),
		imageRow("a long name without an end", bad, "", bytes.Join([][]byte{block('L', "././@LongLink", 5000, nil), padded(strings.Repeat("n", 5000)), block('0', "usr/f", 0, nil), end}, nil)),
		imageRow("a long name of 4 MiB", bad, "", bytes.Join([][]byte{block('L', "././@LongLink", 4<<20, nil), padded(strings.Repeat("n/", 2<<20)), block('0', "usr/f", 0, nil), end}, nil)),
		imageRow("a thousand long names in a row", "UnsupportedImage", "", append(bytes.Repeat(append(block('L', "././@LongLink", 400, nil), padded(strings.Repeat("n", 400))...), 1000), append(block('0', "usr/f", 0, nil), end...)...)),
		imageRow("extended headers only", "", "", append(bytes.Repeat(append(block('x', "pax", 20, nil), padded(record("comment", "12345678")[:20])...), 1000), end...)),
		imageRow("a name with NUL", bad, "", paxed(record("path", "usr/a\x00b"))),
		imageRow("an empty name", "", "", paxed(record("path", ""))),
		imageRow("a negative size in an extended header", bad, "", paxed(record("size", "-1"))),
		imageRow("a huge size in an extended header", "NoSpace", "", paxed(record("size", "9223372036854775807"))),
		imageRow("a size of letters in an extended header", bad, "", paxed(record("size", "many"))),
		imageRow("a time of letters in an extended header", bad, "", paxed(record("mtime", "1e400"))),
		imageRow("an owner out of range in an extended header", bad, "", paxed(record("uid", "18446744073709551615"))),
		imageRow("a record that lies about its length", bad, "", paxed("999999 path=usr/g\n")),
		imageRow("a record without a length", bad, "", paxed("path=usr/g\n")),
		imageRow("a record without a value", bad, "", paxed("9 pathxx\n")),
		imageRow("a record of length 0", bad, "", paxed("0 path=usr/g\n")),
		imageRow("a record with a key of NUL", bad, "", paxed(record("a\x00b", "c"))),
		imageRow("100,000 records", bad, "", paxed(strings.Repeat(record("comment", "x"), 100_000))),
		imageRow("10,000 attributes of one file", bad, "", paxed(manyXattrs(10_000))),
		imageRow("an extended header that says 8 GiB", "DigestMismatch", "", append(block('x', "pax", 0, map[int]string{atSize: "77777777777\x00"}), end...)),
		imageRow("a global header with a path", "", "", append(bytes.Join([][]byte{block('g', "pax", len(record("path", "../../etc/x")), nil), padded(record("path", "../../etc/x"))}, nil), append(block('0', "usr/f", 0, nil), end...)...)),
		imageRow("a sparse map of letters", bad, "", sparse("100", "one\ntwo\n")),
		imageRow("a sparse map without an end", "DigestMismatch", "", sparse("100", strings.Repeat("1", 2000))),
		imageRow("a sparse map with a million parts", "DigestMismatch", "", sparse("1000000", "1000000\n"+strings.Repeat("1\n0\n", 1000))),
		imageRow("a sparse map whose parts overlap", bad, "", sparse("1024", "2\n0\n512\n100\n512\n"+strings.Repeat("\x00", 495))),
		imageRow("a sparse map beyond the size", bad, "", sparse("10", "1\n0\n512\n")),
		imageRow("a sparse map with a negative count", bad, "", sparse("10", "-1\n")),
		imageRow("a sparse file of 8 EiB", bad, "holes of the layer", sparse("9223372036854775807", "0\n")),
		imageRow("a sparse file that lies about its size", bad, "", sparse("-5", "0\n")),
		imageRow("an old sparse entry without a map", "", "", append(block('S', "usr/f", 0, map[int]string{386: strings.Repeat("\x00", 97), atMagic: "ustar  \x00"}), end...)),
	}
	return append(rows, attributeRows()...)
}

func manyXattrs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(record(fmt.Sprintf("SCHILY.xattr.user.a%d", i), strings.Repeat("v", 200)))
	}
	return b.String()
}

// attributeRows are about extended attributes.
func attributeRows() []row {
	const bad = "UnsupportedImage"
	return []row{
		imageRow("an attribute of 70,000 bytes", bad, "", archive(withXattr("user.a", strings.Repeat("v", 70_000)))),
		imageRow("an attribute with a name of 300 bytes", bad, "", archive(withXattr("user."+strings.Repeat("n", 300), "v"))),
		imageRow("an attribute without a name", "", "", archive(withXattr("", "v"))),
		imageRow("an attribute of no name space", "", "", archive(withXattr("whatever", "v"))),
		imageRow("a capability of one byte", bad, "", archive(withXattr("security.capability", "\x01"))),
		imageRow("a capability of revision 1", bad, "", archive(withXattr("security.capability", "\x00\x00\x00\x01\x00\x20\x00\x00\x00\x00\x00\x00"))),
		imageRow("an access list that is none", bad, "", archive(withXattr("system.posix_acl_access", "no list"))),
		imageRow("a default access list of a file", bad, "", archive(withXattr("system.posix_acl_default", "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"))),
		imageRow("a label of the image's choice", "", "", archive(withXattr("security.selinux", "system_u:object_r:shadow_t:s0"))),
		imageRow("an attribute that overlayfs obeys", "", "", archive(withXattr("trusted.overlay.redirect", "/../../etc"))),
	}
}

// serial makes layers differ, so that none is known from an earlier row.
var serial atomic.Uint64

// layer is a good layer that no other image has.
func layer() []byte { return archive(file(fmt.Sprintf("usr/file-%d", serial.Add(1)))) }

// configured is a good image with changed documents.
func configured(change func(*ocispec.Manifest, *ocispec.Image)) ociimage.Spec {
	return ociimage.Spec{Layers: []ociimage.Layer{{Tar: layer(), Compression: ociimage.Gzip}}, Damage: change}
}
