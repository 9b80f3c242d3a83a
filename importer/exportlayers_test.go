package importer

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// entries lists what the archive of a layer holds.
func (i *testImage) entries(t testing.TB, layer int) []string {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(i.blobs[i.manifest.Layers[layer].Digest]))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Uid)
		if h.Typeflag == tar.TypeLink {
			text = h.Name + " is " + h.Linkname
		}
		if h.ModTime.Unix() != 0 {
			text += " " + h.ModTime.String()
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "SCHILY.") {
				text += " " + key
			}
		}
		list = append(list, text)
	}
}

// ownedArchive is archive, with lines "o PATH UID" for files of an owner.
func ownedArchive(t testing.TB, lines ...string) []byte {
	t.Helper()
	var l ocimodel.Layer
	for _, line := range lines {
		fields := append(strings.Fields(line), "", "")
		e := ocimodel.Entry{Path: fields[1], Type: ocimodel.File, Mode: 0o644, Content: []byte(fields[2])}
		switch fields[0] {
		case "d":
			e.Type, e.Content = ocimodel.Dir, nil
			mode, err := strconv.ParseUint(cmp.Or(fields[2], "755"), 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			e.Mode = uint32(mode)
			e.UID, _ = strconv.Atoi(fields[3])
		case "l":
			e.Type, e.Mode, e.Link, e.Content = ocimodel.Symlink, 0o777, fields[2], nil
		case "o":
			e.UID, _ = strconv.Atoi(fields[2])
		}
		l.Entries = append(l.Entries, e)
	}
	raw, err := l.Tar()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What the archives of exported layers hold: what stands in those of the image, in order, at the
// places that it has in the image.
func TestExportedLayers(t *testing.T) {
	lower := []string{"d etc 750 1", "f etc/a 1", "f etc/b 1", "f usr/z same", "f usr/y same", "f usr/x", "f usr/w", "l usr/l y", "f var/v 1", "d opt 700 3", "d low 700", "l link low"}
	for _, test := range []struct {
		name  string
		upper []string
		want  []string // of the upper layer
	}{
		{"entries are sorted, and not implied", []string{"f b/b 1", "f b/a 2", "d a"}, []string{"a/ 755 0", "b/a 644 0", "b/b 644 0"}},
		{"moved directories are back, with their whiteouts", []string{"f var/.wh.v", "f .wh.etc", "d etc 711 7", "f etc/new 1", "f usr/u 1", "f .wh.opt"},
			[]string{".wh.etc 644 0", ".wh.opt 644 0", "etc/ 711 7", "etc/new 644 0", "usr/u 644 0", "var/.wh.v 644 0"}},
		{"whiteouts of moved directories only", []string{"f .wh.var", "f etc/.wh..wh..opq"}, []string{".wh.var 644 0", "etc/.wh..wh..opq 644 0"}},
		{"files with content are linked", []string{"f usr/a same", "f usr/b same", "f usr/c", "f usr/d", "l usr/e x", "l usr/f x"},
			[]string{"usr/a 644 0", "usr/b is usr/a", "usr/c 644 0", "usr/d 644 0", "usr/e 777 0", "usr/f 777 0"}},
		{"but not where programs change them", []string{"f etc/passwd same", "f etc/passwd- same", "f var/a same", "f var/b same"},
			[]string{"etc/passwd 644 0", "etc/passwd- 644 0", "var/a 644 0", "var/b 644 0"}},
		{"an implied directory is root's, whoever owns its files", []string{"o new/b 5", "o new/a 6", "o low/b 15", "o low/a 16", "o opt/d/b 25", "o opt/d/a 26"},
			[]string{"low/a 644 16", "low/b 644 15", "new/a 644 6", "new/b 644 5", "opt/d/a 644 26", "opt/d/b 644 25"}},
		{"an implied directory that begins with a hard link", []string{"o new/a 5", "o other/b 5"}, []string{"new/a 644 5", "other/b is new/a"}},
		{"an implied directory in place of a file", []string{"o usr/x/b 5", "o usr/x/a 6"}, []string{"usr/x/a 644 6", "usr/x/b 644 5"}},
		{"an implied directory behind a link", []string{"o link/b 5", "o link/a 6"}, []string{"link/a 644 6", "link/b 644 5"}},
		{"an implied directory that the layer removes first", []string{"f .wh.low", "o low/b 5", "o low/a 6"},
			[]string{".wh.low 644 0", "low/a 644 6", "low/b 644 5"}},
		{"one that is only there for a marker", []string{"o gone/.wh.x 5", "f usr/.wh.x"}, []string{"gone/.wh.x 644 0", "usr/.wh.x 644 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, after, exported := exportAndImport(t, imageOf(t, archive(t, lower...), ownedArchive(t, test.upper...)), modes[1:2], ostreerepo.ModeArchive)
			if got := exported.entries(t, 1); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if before.root() != after.root() {
				t.Error(before.treeDiff(after))
			}
		})
	}
	t.Run("the lowest layer", func(t *testing.T) {
		_, _, exported := exportAndImport(t, newImage(t, lower), modes[1:2], ostreerepo.ModeArchive)
		want := []string{"etc/ 750 1", "etc/a 644 0", "etc/b 644 0", "link 777 0", "low/ 700 0", "opt/ 700 3", "usr/l 777 0", "usr/w 644 0", "usr/x 644 0", "usr/y 644 0", "usr/z is usr/y", "var/v 644 0"}
		if got := exported.entries(t, 0); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
