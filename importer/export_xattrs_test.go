package importer

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestExportKeepsOddNames is about attributes whose names an archive can't hold as they are.
func TestExportKeepsOddNames(t *testing.T) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	attributes := map[string]string{
		"user.a=b": "1", "user.=": "", "user.a%3Db": "\x00binary\xff", "trusted.x = %y": "2", "user.plain": "3", "user.ä=ö\n": "4",
	}
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "usr/dir/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "usr/file", Mode: 0o644},
	} {
		h.Format, h.PAXRecords = tar.FormatPAX, make(map[string]string)
		for name, value := range attributes {
			key := "LIBARCHIVE.xattr." + strings.ReplaceAll(url.PathEscape(name), "=", "%3D")
			h.PAXRecords[key] = base64.RawStdEncoding.EncodeToString([]byte(value))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before, after, _ := exportAndImport(t, imageOf(t, layer.Bytes()), modes, ostreerepo.ModeBareUser)
	if diff := before.treeDiff(after); diff != "" {
		t.Errorf("the export is another tree:\n%s", diff)
	}
}
