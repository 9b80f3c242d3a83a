package ostreetar

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestSharedAttributes has many files share attributes: an archive says so in some hundred bytes
// for each, and each is written with all of them.
func TestSharedAttributes(t *testing.T) {
	const size = 1 << 19
	var x xattrSets
	large, err := x.add(objects.Xattrs{{Name: "user.large", Value: bytes.Repeat([]byte("x"), size)}}.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	small, err := x.add(objects.Xattrs{{Name: "user.small", Value: []byte("x")}}.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	for range 1_000_000 {
		if set, err := x.take(small); err != nil || len(set) != 1 {
			t.Fatal(set, err)
		}
	}
	files := 0
	for ; err == nil && files <= maxXattrSum/size; files++ {
		_, err = x.take(large)
	}
	if err == nil || !strings.Contains(err.Error(), "1024 MiB") || files < maxXattrSum/size/2 {
		t.Errorf("%d files: %v", files, err)
	}
}
