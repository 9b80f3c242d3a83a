package ocilayout_test

import (
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/ocilayout"
)

func TestParseCompression(t *testing.T) {
	for _, test := range []struct {
		format string
		level  int
		want   ocilayout.Compression
		says   string
	}{
		{"", 0, ocilayout.Compression{Format: ocilayout.Gzip}, ""},
		{"", 9, ocilayout.Compression{Format: ocilayout.Gzip, Level: 9}, ""},
		{"gzip", 1, ocilayout.Compression{Format: ocilayout.Gzip, Level: 1}, ""},
		{"zstd", 22, ocilayout.Compression{Format: ocilayout.Zstd, Level: 22}, ""},
		{"none", 0, ocilayout.Compression{Format: ocilayout.Uncompressed}, ""},
		{"none", 1, ocilayout.Compression{}, "has no level"},
		{"gzip", 10, ocilayout.Compression{}, "1 (fast) to 9 (small)"},
		{"gzip", -1, ocilayout.Compression{}, "1 (fast) to 9 (small)"},
		{"zstd", 23, ocilayout.Compression{}, "1 (fast) to 22 (small)"},
		{"lzma", 1, ocilayout.Compression{}, "is unknown"},
	} {
		got, err := ocilayout.ParseCompression(test.format, test.level)
		if got != test.want || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s, %d: %+v, %v", test.format, test.level, got, err)
		}
	}
}
