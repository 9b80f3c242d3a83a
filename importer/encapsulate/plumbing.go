package encapsulate

import (
	"archive/tar"
	"fmt"
	"sync"
)

const (
	blockSize = 512 // bytes, of a tar archive
	repoPath  = sysroot + "/ostree/repo"
	// repoConfig is how other programs recognise the repository in an image.
	repoConfig = "[core]\nrepo_version=1\nmode=bare-split-xattrs\n"

	plainFile, plainDir = 0o644, 0o755
)

// plumbing returns the entries that make a repository of sysroot/ostree/repo, with which each layer
// begins. An archive of nothing else is the empty chunk. Its bytes are those that ostree-ext
// writes, down to the spelling of numbers in headers: when ostree-ext exports a stored image again,
// it makes new archives, but keeps the label that names the last chunk by its diffID.
var plumbing = sync.OnceValue(func() []byte {
	dirs := []string{sysroot, sysroot + "/ostree", repoPath, repoPath + "/objects"}
	for i := range 256 {
		dirs = append(dirs, fmt.Sprintf("%s/objects/%02x", repoPath, i))
	}
	for _, name := range []string{
		"extensions", "refs", "refs/heads", "refs/mirrors", "refs/remotes", "state", "tmp", "tmp/cache",
	} {
		dirs = append(dirs, repoPath+"/"+name)
	}
	var entries []byte
	for _, name := range dirs {
		entries = append(entries, plumbingHeader(name, tar.TypeDir, plainDir, 0)...)
	}
	entries = append(entries, plumbingHeader(repoPath+"/config", tar.TypeReg, plainFile, len(repoConfig))...)
	content := make([]byte, blockSize)
	copy(content, repoConfig)
	return append(entries, content...)
})

// plumbingHeader returns a header of an entry of root's with the time 0, in the GNU format. Package
// archive/tar writes the same header, but fills the numbers of devices and ends the checksum with a
// space.
func plumbingHeader(name string, kind byte, mode, size int) []byte {
	block := make([]byte, blockSize)
	copy(block[:100], name)
	copy(block[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00", mode, 0, 0, size, 0))
	block[156] = kind
	copy(block[257:], "ustar  \x00")
	checksum := 8 * int(' ') // what its own field counts as
	for _, b := range block {
		checksum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%07o\x00", checksum))
	return block
}
