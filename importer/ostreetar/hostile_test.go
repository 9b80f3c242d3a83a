package ostreetar_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture/encapsulated"
)

// change makes a wrong layer of a right one.
type change func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry

// at changes the first entry whose name ends with suffix.
func at(suffix string, f func(*encapsulated.Entry)) change {
	return func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		f(&entries[find(entries, suffix)])
		return entries
	}
}

// insert puts entries before the first one whose name ends with suffix, or at the end.
func insert(suffix string, more ...encapsulated.Entry) change {
	return func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		if suffix == "" {
			return append(entries, more...)
		}
		return slices.Insert(entries, find(entries, suffix), more...)
	}
}

// repeat puts the first entry whose name ends with suffix, or the first several, at the end again.
func repeat(suffixes ...string) change {
	return func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		for _, suffix := range suffixes {
			entries = append(entries, entries[find(entries, suffix)])
		}
		return entries
	}
}

func drop(suffix string) change {
	return func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		return removeEntries(entries, suffix)
	}
}

func dropFirst(suffix string) change {
	return func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		i := find(entries, suffix)
		return slices.Delete(entries, i, i+1)
	}
}

func entry(typeflag byte, name, target, content string) encapsulated.Entry {
	return encapsulated.Entry{Header: tar.Header{Typeflag: typeflag, Name: name, Linkname: target, Mode: 0o644}, Content: []byte(content)}
}

func regular(name, content string) encapsulated.Entry { return entry(tar.TypeReg, name, "", content) }

// object is the name of an object that no commit has.
func object(suffix string) string {
	return encapsulated.ObjectPath(objects.ChecksumOf([]byte("some object")), suffix)
}

// named is an object with the right name for its content.
func named(suffix string, content []byte) encapsulated.Entry {
	return regular(encapsulated.ObjectPath(objects.ChecksumOf(content), suffix), string(content))
}

func content(text string) func(*encapsulated.Entry) {
	return func(e *encapsulated.Entry) { e.Content = []byte(text) }
}

func typed(typeflag byte) func(*encapsulated.Entry) {
	return func(e *encapsulated.Entry) { e.Typeflag, e.Content = typeflag, nil }
}

// hostile lists what no layer may hold. The name of the entry that is to blame ends with entry.
var hostile = []struct {
	name     string
	encoding encapsulated.Encoding
	change   change
	entry    string
	want     string // in the error
}{
	// Objects that do not match their names.
	{"content", encapsulated.Inline, at(".file", content("other")), ".file", "another checksum"},
	{"owner", encapsulated.Inline, at(".file", func(e *encapsulated.Entry) { e.Uid = 77 }), ".file", "another checksum"},
	{"mode", encapsulated.Inline, at(".file", func(e *encapsulated.Entry) { e.Mode = 0o4755 }), ".file", "another checksum"},
	{"attributes", encapsulated.Inline, at(".file-xattrs-link", content("")), ".file", "another checksum"},
	{"no attributes", encapsulated.Inline, dropFirst(".file-xattrs-link"), ".file", "another checksum"},
	{"owner out of range", encapsulated.Inline, at(".file", func(e *encapsulated.Entry) { e.Uid = 1 << 40 }), ".file", "out of range"},
	{"dirtree", encapsulated.Inline, at(".dirtree", content("\x00")), ".dirtree", "another checksum"},
	{"dirmeta", encapsulated.Inline, at(".dirmeta", content("")), ".dirmeta", "another checksum"},
	{"commit", encapsulated.Inline, at(".commit", func(e *encapsulated.Entry) { e.Content = bytes.ToUpper(e.Content) }), ".commit", "another checksum"},
	// Objects that do, but are not what they should be.
	{"dirtree that is none", encapsulated.Inline, insert("", named("dirtree", []byte("no tree"))), ".dirtree", "not valid"},
	{"dirtree with a bad name", encapsulated.Inline, insert("", named("dirtree", objects.DirTree{Files: []objects.TreeFile{{Name: ".."}}}.Marshal())), ".dirtree", `".."`},
	{"dirmeta that is none", encapsulated.Inline, insert("", named("dirmeta", []byte("no meta"))), ".dirmeta", "not valid"},
	{"dirmeta of a file", encapsulated.Inline, insert("", named("dirmeta", objects.DirMeta{Mode: 0o100644}.Marshal())), ".dirmeta", "not valid"},
	{"detached metadata that are none", encapsulated.Inline, at(".commitmeta", content("no dictionary")), ".commitmeta", "dictionary"},
	{"symlink without target", encapsulated.Inline, insert("", entry(tar.TypeSymlink, object("file"), "", "")), ".file", "not valid"},
	{"unsorted attributes", encapsulated.Inline, insert("", regular(object("file-xattrs-link"), string(objects.Xattrs{{Name: "user.b", Value: []byte("1")}, {Name: "user.a", Value: []byte("1")}}.Marshal())),
		regular(object("file"), "")), ".file", "not in order"},
	// The commit.
	{"second commit", encapsulated.Inline, insert("", named("commit", objects.Commit{}.Marshal())), ".commit", "second commit"},
	{"the same commit twice", encapsulated.Inline, repeat(".commit"), ".commit", "second commit"},
	{"object before the commit", encapsulated.Inline, insert(".commit", regular(object("dirmeta"), "")), ".dirmeta", "must be the commit"},
	{"detached metadata first", encapsulated.Inline, drop(".commit"), ".commitmeta", "must be the commit"},
	{"detached metadata late", encapsulated.Inline, func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		return append(removeEntries(entries, ".commitmeta"), entries[find(entries, ".commitmeta")])
	}, ".commitmeta", "right after the commit"},
	{"detached metadata twice", encapsulated.Inline, repeat(".commitmeta"), ".commitmeta", "right after the commit"},
	{"detached metadata of another", encapsulated.Inline, at(".commitmeta", func(e *encapsulated.Entry) { e.Name = object("commitmeta") }), ".commitmeta", "of another commit"},
	{"commit is a symlink", encapsulated.Inline, at(".commit", typed(tar.TypeSymlink)), ".commit", "regular file"},
	{"commit that is none", encapsulated.Inline, func(t *testing.T, entries []encapsulated.Entry) []encapsulated.Entry {
		entries[find(entries, ".commit")] = named("commit", []byte("no commit"))
		return entries
	}, ".commit", "commit: not a GVariant"},
	// Names.
	{"short name", encapsulated.Inline, insert("", regular(encapsulated.Repo+"objects/ab/cd.file", "")), "cd.file", "62 digits"},
	{"upper case", encapsulated.Inline, insert("", regular(encapsulated.Repo+"objects/AB/"+strings.Repeat("c", 62)+".file", "")), ".file", "lower-case"},
	{"no hexadecimal", encapsulated.Inline, insert("", regular(encapsulated.Repo+"objects/ab/"+strings.Repeat("g", 62)+".file", "")), ".file", "lower-case"},
	{"deeper", encapsulated.Inline, insert("", regular(encapsulated.Repo+"objects/ab/c/"+strings.Repeat("c", 60)+".file", "")), ".file", "lower-case"},
	{"above objects", encapsulated.Inline, insert("", regular(encapsulated.Repo+"objects/../../../etc/passwd", "")), "passwd", "62 digits"},
	{"no kind", encapsulated.Inline, insert("", regular(strings.TrimSuffix(object(""), "."), "")), "", "no kind of object"},
	{"unknown kind", encapsulated.Inline, insert("", regular(object("payload-link"), "")), ".payload-link", `no kind of object called "payload-link"`},
	{"archive's kind", encapsulated.Inline, insert("", regular(object("filez"), "")), ".filez", "no kind of object"},
	{"old attributes with a bad name", encapsulated.V0, insert("", regular(encapsulated.Repo+"xattrs/1", "")), "xattrs/1", "checksum"},
	// Types.
	{"file is a device", encapsulated.Inline, insert("", entry(tar.TypeChar, object("file"), "", "")), ".file", "regular file or a symbolic link"},
	{"file is a fifo", encapsulated.Inline, insert("", entry(tar.TypeFifo, object("file"), "", "")), ".file", "regular file or a symbolic link"},
	{"file is a hard link", encapsulated.Inline, at(".file", func(e *encapsulated.Entry) {
		e.Typeflag, e.Linkname, e.Content, e.PAXRecords = tar.TypeLink, object("file"), nil, nil
	}), ".file", "regular file or a symbolic link"},
	{"dirtree is a hard link", encapsulated.Inline, at(".dirtree", func(e *encapsulated.Entry) { e.Typeflag, e.Linkname, e.Content = tar.TypeLink, object("dirtree"), nil }), ".dirtree", "must be a regular file"},
	{"attributes are a symlink", encapsulated.Inline, at(".file-xattrs-link", typed(tar.TypeSymlink)), ".file-xattrs-link", "must be a regular file"},
	{"attributes are a directory of sorts", encapsulated.V1, at(".file-xattrs", typed(tar.TypeFifo)), ".file-xattrs", "must be a regular file"},
	{"old attributes are a file", encapsulated.V0, at(".file.xattrs", typed(tar.TypeReg)), ".file.xattrs", "must be a hard link"},
	// Extended attributes.
	{"attributes with another checksum", encapsulated.V1, at(".file-xattrs", content("")), ".file-xattrs", "another checksum"},
	{"old attributes with another checksum", encapsulated.V0, insert(".file.xattrs", regular(encapsulated.Repo+"xattrs/"+strings.Repeat("a", 64), "")), strings.Repeat("a", 64), "another checksum"},
	{"attributes that are none", encapsulated.Inline, at(".file-xattrs-link", content("no attributes")), ".file-xattrs-link", "extended attributes: not a GVariant"},
	{"attributes missing", encapsulated.V1, drop(".file-xattrs"), ".file-xattrs-link", "not in the layer before it"},
	{"link to another kind", encapsulated.V1, at(".file-xattrs-link", func(e *encapsulated.Entry) { e.Linkname = object("file") }), ".file-xattrs-link", "not what holds extended attributes"},
	{"link out of the layer", encapsulated.V1, at(".file-xattrs-link", func(e *encapsulated.Entry) { e.Linkname = "/etc/passwd" }), ".file-xattrs-link", `hard link to "/etc/passwd"`},
	{"old link out of the layer", encapsulated.V0, at(".file.xattrs", func(e *encapsulated.Entry) { e.Linkname = "/etc/passwd" }), ".file.xattrs", `hard link to "/etc/passwd"`},
	{"attributes without a file at the end", encapsulated.Inline, insert("", regular(object("file-xattrs-link"), "")), ".file-xattrs-link", "ends before the file"},
	{"attributes without a file", encapsulated.Inline, insert(".file-xattrs-link", regular(object("file-xattrs-link"), "")), ".file-xattrs-link", "is missing"},
	{"old attributes without a file", encapsulated.V0, insert(".file.xattrs", entry(tar.TypeLink, object("file.xattrs"), strings.Repeat("a", 64), "")), ".file.xattrs", "is missing"},
	{"attributes of another file", encapsulated.Inline, at(".file-xattrs-link", func(e *encapsulated.Entry) { e.Name = object("file-xattrs-link") }), ".file", "those of another file"},
	{"too many attributes", encapsulated.Inline, at(".file-xattrs-link", content(strings.Repeat("x", 1<<20+1))), ".file-xattrs-link", "more than 1048576"},
}

func TestHostileCommitLayers(t *testing.T) {
	from, c := smallSource(t)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			entries := test.change(t, encapsulated.CommitEntries(t, from, c, test.encoding))
			st := newStaging(t, repo)
			got, _, err := readCommit(t, st, encapsulated.Tar(t, entries), ostreetar.Options{})
			checkRefused(t, err, test.entry, test.want)
			if (got != ostreetar.Commit{}) || st.Has(objects.KindCommit, c) || st.Has(objects.KindFile, objects.ChecksumOf([]byte("some object"))) {
				t.Errorf("there are objects that should not be; got %+v", got)
			}
		})
	}
}

// checkRefused wants an error about an entry.
func checkRefused(t *testing.T, err error, entry, want string) {
	t.Helper()
	var entryErr *blob.EntryError
	if !errors.As(err, &entryErr) || !strings.HasSuffix(entryErr.Entry, entry+`"`) || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
		t.Errorf("got %v; want one about …%s with %q", err, entry, want)
	}
}

func TestHostileChunks(t *testing.T) {
	from, c := smallSource(t)
	files := encapsulated.Files(t, from, c)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	commitLayer := encapsulated.CommitEntries(t, from, c, encapsulated.Inline)
	for _, test := range []struct {
		name     string
		encoding encapsulated.Encoding
		change   change
		entry    string
		want     string
	}{
		{"commit", encapsulated.Inline, insert("", commitLayer[find(commitLayer, ".commit")]), ".commit", "contents only"},
		{"detached metadata", encapsulated.Inline, insert("", commitLayer[find(commitLayer, ".commitmeta")]), ".commitmeta", "contents only"},
		{"dirtree", encapsulated.Inline, insert("", commitLayer[find(commitLayer, ".dirtree")]), ".dirtree", "contents only"},
		{"dirmeta", encapsulated.V1, insert("", commitLayer[find(commitLayer, ".dirmeta")]), ".dirmeta", "contents only"},
		{"twice", encapsulated.Inline, repeat(".file-xattrs-link", ".file"), ".file", "twice"},
		{"twice, without attributes", encapsulated.V0, repeat(".file"), ".file", "twice"},
		{"content", encapsulated.V0, at(".file", content("other")), ".file", "another checksum"},
		{"unknown kind", encapsulated.Inline, insert("", regular(object("what"), "")), ".what", "no kind"},
		{"attributes without a file at the end", encapsulated.V1, insert("", entry(tar.TypeLink, object("file-xattrs-link"), object("file-xattrs"), "")), ".file-xattrs-link", "ends before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := newStaging(t, repo)
			entries := test.change(t, encapsulated.ChunkEntries(t, from, files, test.encoding))
			got, _, err := readChunk(t, st, encapsulated.Tar(t, entries))
			checkRefused(t, err, test.entry, test.want)
			if !got.IsZero() {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestNoCommit takes layers of other kinds for commit layers.
func TestNoCommit(t *testing.T) {
	from, c := smallSource(t)
	st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	for name, entries := range map[string][]encapsulated.Entry{
		"empty": nil, "files": {regular("usr/bin/sh", "x"), regular("sysroot/ostree/repo/config", "x")},
		"chunk without objects": encapsulated.ChunkEntries(t, from, nil, encapsulated.Inline),
	} {
		if _, _, err := readCommit(t, st, encapsulated.Tar(t, entries), ostreetar.Options{}); !errors.Is(err, ostreetar.ErrNoCommit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	chunk := encapsulated.Chunk(t, from, encapsulated.Files(t, from, c), encapsulated.Inline)
	_, _, err := readCommit(t, st, chunk, ostreetar.Options{})
	checkRefused(t, err, ".file-xattrs-link", "must be the commit")
}

// TestPassedOver has what does not matter beside the objects.
func TestPassedOver(t *testing.T) {
	from, c := smallSource(t)
	entries := insert(".commit",
		regular("usr/bin/sh", "a file that is no object"), entry(tar.TypeChar, "dev/null", "", ""), entry(tar.TypeFifo, "fifo", "", ""),
		regular("../../etc/passwd", "outside"), entry(tar.TypeLink, "usr/lib/x", "../../../etc/shadow", ""),
		regular("/"+object("file"), "absolute"), regular(encapsulated.Repo+"refs/heads/os/stable", "what"), regular(encapsulated.Repo+"state/x", "what"),
		regular(encapsulated.Repo+"tmp/objects/x.file", "what"), regular(encapsulated.Repo+"objectsx/y", "what"),
		entry(tar.TypeDir, encapsulated.Repo+"objects/whatever", "", ""), regular("sysroot/ostree/repository/objects/x", "what"),
		encapsulated.Entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}},
	)(t, encapsulated.CommitEntries(t, from, c, encapsulated.V1))
	st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	got, _, err := readCommit(t, st, encapsulated.Tar(t, entries), ostreetar.Options{})
	if err != nil || got.Checksum != c {
		t.Fatalf("%+v, %v", got, err)
	}
	check(t, st.Complete(t.Context(), c))
	if st.Has(objects.KindFile, objects.ChecksumOf([]byte("some object"))) {
		t.Error("an object came out of what should be passed over")
	}
}

// TestRelativeLinks takes the targets that writers used for a while in 2022.
func TestRelativeLinks(t *testing.T) {
	from, c := smallSource(t)
	entries := encapsulated.CommitEntries(t, from, c, encapsulated.V1)
	for i := range entries {
		if strings.HasSuffix(entries[i].Linkname, ".file-xattrs") {
			entries[i].Linkname = "../" + strings.TrimPrefix(entries[i].Linkname, encapsulated.Repo+"objects/")
		}
	}
	st := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	got, _, err := readCommit(t, st, encapsulated.Tar(t, entries), ostreetar.Options{})
	if err != nil || got.Checksum != c {
		t.Fatalf("%+v, %v", got, err)
	}
	check(t, st.Complete(t.Context(), c))
}

// TestManyAttributes bounds what is remembered of attributes that all differ.
func TestManyAttributes(t *testing.T) {
	var entries []encapsulated.Entry
	for i := range 70 {
		value := bytes.Repeat([]byte{byte(i + 1)}, 1_000_000)
		entries = append(entries, named("file-xattrs", objects.Xattrs{{Name: "user.a", Value: value}}.Marshal()))
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	if _, _, err := readChunk(t, newStaging(t, repo), encapsulated.Tar(t, entries[:60])); err != nil {
		t.Error(err)
	}
	_, _, err := readChunk(t, newStaging(t, repo), encapsulated.Tar(t, entries))
	checkRefused(t, err, ".file-xattrs", "more than 64 MiB")
}

// TestHugeMetadata refuses an object by what its header says, without reading it.
func TestHugeMetadata(t *testing.T) {
	from, c := smallSource(t)
	for _, suffix := range []string{".commit", ".commitmeta", ".dirtree", ".dirmeta"} {
		entries := encapsulated.CommitEntries(t, from, c, encapsulated.Inline)
		var b bytes.Buffer
		i := find(entries, suffix)
		b.Write(encapsulated.Tar(t, entries[:i]))
		b.Truncate(b.Len() - 1024)
		w := tar.NewWriter(&b)
		h := entries[i].Header
		h.Size = 128<<20 + 1
		check(t, w.WriteHeader(&h))
		_, _, err := readCommit(t, newStaging(t, newRepo(t, ostreerepo.ModeBareUser)), b.Bytes(), ostreetar.Options{})
		checkRefused(t, err, suffix, "more than 134217728")
	}
}
