package blob

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestArchiveErrors: whatever archive/tar says of an archive is about the archive.
func TestArchiveErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want error
	}{
		"a bad header":   {tar.ErrHeader, ErrArchive},
		"a long field":   {tar.ErrFieldTooLong, ErrArchive},
		"one of no name": {errors.New("archive/tar: sparse map too long"), ErrArchive},
		"a cut":          {io.ErrUnexpectedEOF, ErrTruncated},
	} {
		if err := ArchiveError(test.err); !errors.Is(err, test.want) || !errors.Is(err, test.err) && test.want == ErrArchive {
			t.Errorf("%s: %v", name, err)
		}
		if err := HeaderError("usr/x", test.err); !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), `after the entry "usr/x": `) {
			t.Errorf("%s: %v", name, err)
		}
		if err := HeaderError("", test.err); !strings.HasPrefix(err.Error(), "at its first entry: ") {
			t.Errorf("%s: %v", name, err)
		}
		var entry *EntryError
		if err := ContentError("usr/x", test.err); !errors.Is(err, test.want) || !errors.As(err, &entry) || entry.Entry != `"usr/x"` {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := errors.New("connection lost")
	for _, err := range []error{ArchiveError(other), HeaderError("x", other), ContentError("x", other)} {
		if err != other {
			t.Errorf("an error of the source became %v", err)
		}
	}
	if ArchiveError(nil) != nil || ContentError("x", nil) != nil {
		t.Error("no error became one")
	}
}
