package destination

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

const (
	versionName = "version"
	// versionBegin is what the version file of each image of the transport dir begins with.
	versionBegin = "Directory Transport Version: "
)

// imageFile is the names of the files of an image of the transport dir (containers-transports(5)):
// the version, the manifest or several, signatures, and blobs by the digits of their digests.
var imageFile = regexp.MustCompile(`^(version|([0-9a-f]{64,128}\.)?manifest\.json|([0-9a-f]{64,128}\.)?signature-[0-9]+|[0-9a-f]{64,128})$`)

var errForeignDir = errors.New("the directory is neither empty nor an image of the transport dir; name another one")

// checkImageDir refuses a directory that holds anything but an image of the transport dir.
func checkImageDir(dir *dirfd.Dir) error {
	if err := dir.RefuseRepository(); err != nil {
		return err
	}
	names, err := dir.Names()
	if err != nil {
		return err
	}
	versioned := len(names) == 0
	for _, name := range names {
		if !imageFile.MatchString(name) && !scratch.Is(name) {
			return errForeignDir
		}
		versioned = versioned || name == versionName
	}
	if !versioned {
		return errForeignDir
	}
	if len(names) == 0 {
		return nil
	}
	return checkVersion(dir)
}

func checkVersion(dir *dirfd.Dir) error {
	f, err := dir.OpenFile(versionName, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	begin := make([]byte, len(versionBegin))
	if _, err := io.ReadFull(f, begin); err != nil || !strings.HasPrefix(string(begin), versionBegin) {
		return errForeignDir
	}
	return nil
}
