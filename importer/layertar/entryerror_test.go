package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// plainACL is an access control list that says the same as the mode 0644.
const plainACL = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"

func TestEntryErrors(t *testing.T) {
	long := strings.Repeat("v", objects.MaxXattrValue)
	deep := strings.Repeat("d/", maxPath/2)
	tests := []struct {
		name    string
		entries []entry
		entry   string // as the error names it
		want    string
	}{
		{"dot dot", []entry{file("usr/../../etc/x", "")}, `"usr/../../etc/x"`, "leads out of the image"},
		{"absolute dot dot", []entry{file("/../x", "")}, `"/../x"`, "leads out of the image"},
		{"dot dot at the end", []entry{dir("usr/..")}, `"usr/.."`, `the path contains ".."`},
		{"dot dot inside", []entry{file("x/../a", "")}, `"x/../a"`, `the path contains ".."`},
		{"as often up as down", []entry{file("a/b/../../../x", "")}, `"a/b/../../../x"`, "leads out of the image"},
		{"directory of a backup", []entry{special('D', "./")}, `"./"`, "type 'D' is that of a directory in an incremental archive"},
		{"part of a file", []entry{special('M', "usr/part")}, `"usr/part"`, "type 'M' is that of a part of a file"},
		{"hard link with dot dot", []entry{file("a", ""), link("b", "../a")}, `"b"`, `a hard link to "../a": the path leads out of the image`},
		{"hard link to a directory", []entry{dir("d"), link("b", "d")}, `"b"`, `a hard link to the directory "d"`},
		{"hard link to the root", []entry{link("b", "/")}, `"b"`, `a hard link to the directory "/"`},
		{"hard links in a circle", []entry{link("a", "b"), link("b", "a")}, `"a"`, "leads back"},
		{"hard link to itself", []entry{link("a", "a")}, `"a"`, "leads back"},
		{"not UTF-8", []entry{file("a\xff", "")}, `"a\xff"`, "not UTF-8"},
		{"target not UTF-8", []entry{symlink("a", "\xff")}, `"a"`, "not UTF-8"},
		{"no target", []entry{symlink("a", "")}, `"a"`, "no target"},
		{"long target", []entry{symlink("a", strings.Repeat("t", maxTarget+1))}, `"a"`, "4096 bytes long"},
		{"long name", []entry{file(strings.Repeat("n", 256), "")}, `"` + strings.Repeat("n", 200) + `"…`, "256 bytes long"},
		{"long path", []entry{file(deep+"a", "")}, `"` + deep[:200] + `"…`, "4097 bytes long"},
		{"long path by a link", []entry{symlink("a", deep[:4000]), file("a/"+deep[:1000]+"x", "")}, `"a/` + deep[:198] + `"…`, "resolved is longer"},
		{"links in a circle", []entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, `"a/x"`, "more than 40 symbolic links"},
		{"a link too many", append(chain(maxLinks+1), dir("l0"), file(fmt.Sprintf("l%d/x", maxLinks+1), "")), `"l41/x"`, "more than 40 symbolic links"},
		{"bad name by a link", []entry{symlink("a", strings.Repeat("n", 256)), file("a/x", "")}, `"a/x"`, "through a symbolic link"},
		{"root as a file", []entry{file(".", "")}, `"."`, "must be a directory"},
		{"character device", []entry{special(tar.TypeChar, "usr/c")}, `"usr/c"`, "a character device: OSTree can't hold such a file"},
		{"block device", []entry{special(tar.TypeBlock, "usr/b")}, `"usr/b"`, "a block device: OSTree can't hold such a file"},
		{"fifo", []entry{special(tar.TypeFifo, "usr/f")}, `"usr/f"`, "a fifo: OSTree can't hold such a file"},
		{"label of a volume", []entry{special('V', "v")}, `"v"`, "type 'V' is that of the label of a volume"},
		{"unknown type", []entry{special('Z', "z")}, `"z"`, "type 'Z' is unknown"},
		{"owner", []entry{file("a", "", owned(1<<32-1, 0))}, `"a"`, "owner 4294967295:0 is out of range"},
		{"group", []entry{file("a", "", owned(0, 1<<33))}, `"a"`, "out of range"},
		{"large xattr", []entry{file("a", "", xattr("user.a", long+"v"))}, `"a"`, `"user.a": the value has 65537 bytes`},
		{"capability of one byte", []entry{file("a", "", xattr("security.capability", "\x01"))}, `"a"`, `"security.capability": the value has 1 bytes`},
		{"capability of revision 1", []entry{dir("a", xattr("security.capability", "\x00\x00\x00\x01\x00\x20\x00\x00\x00\x00\x00\x00"))}, `"a"`, `"security.capability": its revision`},
		{"ACL of another form", []entry{file("a", "", xattr("system.posix_acl_access", "no list"))}, `"a"`, `"system.posix_acl_access": an access control list cannot have 7 bytes`},
		{"ACL without entries for all", []entry{dir("a", xattr("system.posix_acl_default", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff"))}, `"a"`, `"system.posix_acl_default": the access control list lacks`},
		{"default ACL of a file", []entry{file("a", "", xattr("system.posix_acl_default", plainACL))}, `"a"`, `"system.posix_acl_default": only a directory`},
		{"ACL of a file that is left out", []entry{file("run/a", "", xattr("system.posix_acl_default", plainACL))}, `"run/a"`, "only a directory"},
		{"long xattr name", []entry{file("a", "", xattr("user."+strings.Repeat("n", 255), ""))}, `"a"`, "no name of an extended attribute"},
		{"xattr without name", []entry{file("a", "", xattr("user.", ""))}, `"a"`, "no name of an extended attribute"},
		{"bad base64", []entry{file("a", "", pax("LIBARCHIVE.xattr.user.a", "!"))}, `"a"`, "base64"},
		{"bad percent", []entry{file("a", "", pax("LIBARCHIVE.xattr.user.%zz", ""))}, `"a"`, "%zz"},
		{"whiteout of nothing", []entry{file("usr/.wh.", "")}, `"usr/.wh."`, "a whiteout of no file"},
		{"whiteout of dot", []entry{file("usr/.wh..", "")}, `"usr/.wh.."`, "a whiteout of no file"},
		{"whiteout of dot dot", []entry{file("usr/.wh...", "")}, `"usr/.wh..."`, "a whiteout of no file"},
		{"below a whiteout", []entry{file("usr/.wh.a/b", "")}, `"usr/.wh.a/b"`, `the whiteout ".wh.a" can't hold anything`},
		{"below an opaque marker", []entry{file("usr/.wh..wh..opq/b", "")}, `"usr/.wh..wh..opq/b"`, "can't hold anything"},
		{"etc without usr", []entry{dir("etc"), file("usr", "")}, `"etc"`, "its place in a commit is usr/etc, but usr is not a directory"},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := archive(t, tt.entries...)
			commit, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{})
			var entryErr *EntryError
			if !errors.As(err, &entryErr) {
				t.Fatalf("Import = %s, %v; want an EntryError", commit, err)
			}
			if entryErr.Entry != tt.entry || !strings.Contains(entryErr.Err.Error(), tt.want) {
				t.Errorf("entry %s: %v; want %s with %q", entryErr.Entry, entryErr.Err, tt.entry, tt.want)
			}
			if strings.Contains(tt.want, "can't hold such") != errors.Is(err, ErrUnsupportedEntry) {
				t.Errorf("errors.Is(%v, ErrUnsupportedEntry) = %v", err, errors.Is(err, ErrUnsupportedEntry))
			}
		})
	}
}

// chain is n symbolic links, each to the one before, and the first to l0.
func chain(n int) []entry {
	entries := []entry{dir("./")}
	for i := range n {
		entries = append(entries, symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d", i)))
	}
	return entries
}

// TestLinksFollowed follows as many symbolic links as Linux does.
func TestLinksFollowed(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	commit, _ := land(t, repo, archive(t, append(chain(maxLinks), dir("l0"), file(fmt.Sprintf("l%d/x", maxLinks), "1"))...), Options{})
	if got := listing(t, repo, commit); !slices.Contains(got, "-00644 0 0 1 /l0/x") {
		t.Errorf("listing\n%s", strings.Join(got, "\n"))
	}
}

// TestKeptIsBounded wants archives that would take much more memory than they are large to be
// refused.
func TestKeptIsBounded(t *testing.T) {
	long := strings.Repeat("a/", 2000)
	var attributes []option
	for i := range 15 {
		attributes = append(attributes, xattr(fmt.Sprintf("user.%d", i), strings.Repeat("x", objects.MaxXattrValue)))
	}
	tests := []struct {
		name  string
		entry func(i int) entry
	}{
		{"missing directories", func(i int) entry { return file(fmt.Sprintf("%04d/%sf", i, long), "") }},
		{"links that wait", func(i int) entry { return link(fmt.Sprintf("%04d", i), fmt.Sprintf("%04d/%sf", i, long)) }},
		{"attributes", func(i int) entry { return dir(fmt.Sprintf("%04d", i), attributes...) }},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			read, write := io.Pipe()
			go func() { // until Import closes its end
				w := tar.NewWriter(write)
				for i := range maxEntries {
					if e := tt.entry(i); w.WriteHeader(&e.Header) != nil {
						return
					}
				}
			}()
			layer := Layer{Descriptor: ocispec.Descriptor{Digest: digest.FromString(""), Size: 1 << 40}, DiffID: digest.FromString("")}
			_, _, err := Import(t.Context(), newStaging(t, repo), read, layer, Options{})
			var entryErr *EntryError
			if !errors.As(err, &entryErr) || !strings.Contains(err.Error(), "take more than 256 MiB") {
				t.Errorf("Import = %v", err)
			}
		})
	}
}
