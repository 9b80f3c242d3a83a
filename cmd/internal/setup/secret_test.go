package setup

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/proxyclient"
)

// passed makes a file of the content that the caller has opened.
func passed(t *testing.T, content string, flag int) *importer.Descriptor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := importer.NewDescriptor(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestPassedSecrets(t *testing.T) {
	access := importer.Access{
		AuthFile: "/hidden/auth.json", AuthFD: passed(t, "{}", os.O_RDONLY),
		DecryptionKeys: []string{"provider:x", "/hidden/key:pass:word", "/hidden/other"},
		KeyFDs:         []*importer.Descriptor{passed(t, "one", os.O_RDONLY), passed(t, "two", os.O_RDONLY)},
	}
	for range 2 { // also when it is read again
		config, err := proxyConfig(access, logrus.New())
		keys := []proxyclient.DecryptionKey{{Key: "provider:x"}, {Key: ":pass:word", Data: []byte("one")}, {Data: []byte("two")}}
		if err != nil || config.AuthFile != "" || string(config.AuthData) != "{}" || !reflect.DeepEqual(config.DecryptionKeys, keys) {
			t.Errorf("%+v, %v", config, err)
		}
	}
}

func TestPassedSecretsThatAreNone(t *testing.T) {
	closed := passed(t, "{}", os.O_RDONLY)
	closed.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	directory, err := importer.NewDescriptor(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		d    *importer.Descriptor
		want string
	}{
		"empty":           {passed(t, "", os.O_RDONLY), "empty"},
		"too large":       {passed(t, strings.Repeat("x", maxSecret+1), os.O_RDONLY), "larger than"},
		"not for reading": {passed(t, "{}", os.O_WRONLY), "for reading"},
		"a directory":     {directory, "for reading"},
		"closed":          {closed, "pass it again"},
		"written down":    {new(importer.Descriptor), "pass it again"},
	} {
		_, err := proxyConfig(importer.Access{AuthFD: test.d}, logrus.New())
		if importer.KindOf(err) != importer.KindInvalidOption || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
