package ostreetar

import (
	"fmt"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// repoPath is where the repository is in an archive.
const repoPath = "sysroot/ostree/repo/"

// kind is what an entry of an archive holds, spelled as the end of its name.
type kind string

const (
	kindNone       kind = "" // nothing that matters
	kindCommit     kind = "commit"
	kindCommitMeta kind = "commitmeta"
	kindDirTree    kind = "dirtree"
	kindDirMeta    kind = "dirmeta"
	kindFile       kind = "file"
	kindXattrs     kind = "file-xattrs"      // extended attributes under their own checksum
	kindXattrsLink kind = "file-xattrs-link" // those of a file under the file's checksum, or a hard link to them
	kindXattrsRef  kind = "file.xattrs"      // a hard link of the oldest encoding
)

// parseName tells what the entry called name is. It fails for a name below objects/ or xattrs/ that
// no object has.
func parseName(name string) (kind, objects.Checksum, error) {
	path, ok := strings.CutPrefix(strings.TrimPrefix(name, "./"), repoPath)
	if !ok {
		return kindNone, objects.Checksum{}, nil
	}
	if text, ok := strings.CutPrefix(path, "xattrs/"); ok {
		c, err := objects.ParseChecksum(text)
		return kindXattrs, c, err
	}
	if path, ok = strings.CutPrefix(path, "objects/"); !ok {
		return kindNone, objects.Checksum{}, nil
	}
	return parseObject(path)
}

// parseObject reads XX/REST.KIND, where XX and REST are the digits of a checksum.
func parseObject(path string) (kind, objects.Checksum, error) {
	const digits = 2 * len(objects.Checksum{})
	stem, suffix, _ := strings.Cut(path, ".")
	if len(stem) != digits+1 || stem[2] != '/' {
		return "", objects.Checksum{}, fmt.Errorf("the name of an object has 2 digits, a slash, and %d digits", digits-2)
	}
	c, err := objects.ParseChecksum(stem[:2] + stem[3:])
	if err != nil {
		return "", objects.Checksum{}, err
	}
	switch k := kind(suffix); k {
	case kindCommit, kindCommitMeta, kindDirTree, kindDirMeta, kindFile, kindXattrs, kindXattrsLink, kindXattrsRef:
		return k, c, nil
	}
	return "", objects.Checksum{}, fmt.Errorf("there is no kind of object called %.50q; a newer version of ostree-importd may know it", suffix)
}

// parseXattrsTarget gives the checksum that the target of a hard link to extended attributes ends
// with: what leads there is as the archive's writer liked it, from the root or relative.
func parseXattrsTarget(k kind, target string) (objects.Checksum, error) {
	last := strings.LastIndexByte(target, '/')
	if k == kindXattrsRef {
		return objects.ParseChecksum(target[last+1:])
	}
	if last >= 0 {
		last = strings.LastIndexByte(target[:last], '/')
	}
	got, c, err := parseObject(target[last+1:])
	if err == nil && got != kindXattrs {
		err = fmt.Errorf("an object of the kind %q", got)
	}
	return c, err
}
