package encapsulate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// readCommit reads a commit and the bytes that it has, which differ from those that it would be
// written with again when the keys of its metadata are not sorted.
func readCommit(repo *ostreerepo.Repo, c objects.Checksum) (objects.Commit, []byte, error) {
	raw, err := repo.Metadata(objects.KindCommit, c)
	if err != nil {
		return objects.Commit{}, nil, err
	}
	commit, err := objects.ParseCommit(raw)
	if err != nil {
		return objects.Commit{}, nil, fmt.Errorf("%w: commit %s: %w", ostreerepo.ErrCorrupted, c, err)
	}
	return commit, raw, nil
}

// filePath is where a repository keeps a content object.
func filePath(repo *ostreerepo.Repo, c objects.Checksum) string {
	name, suffix := c.String(), string(objects.KindFile)
	if repo.Mode() == ostreerepo.ModeArchive {
		suffix += "z"
	}
	return filepath.Join(repo.Path(), "objects", name[:2], name[2:]+"."+suffix)
}

// contentSize tells how many bytes of content a file object has; that of a symlink does not matter.
func contentSize(repo *ostreerepo.Repo, c objects.Checksum) (int64, error) {
	path := filePath(repo, c)
	if repo.Mode() == ostreerepo.ModeArchive {
		size, err := archivedSize(path)
		return size, sizeError(c, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, sizeError(c, err)
	}
	return info.Size(), nil
}

// archivedSize reads the header of a file of an archive repository.
func archivedSize(path string) (int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// After eight bytes of framing the header begins with the size. What else is in it is checked
	// where the content is read.
	const framing, number = 8, 8
	var start [framing + number]byte
	if _, err := io.ReadFull(f, start[:]); err != nil {
		return 0, fmt.Errorf("%w: its header is cut; `ostree fsck` lists what is wrong", ostreerepo.ErrCorrupted)
	}
	size := binary.BigEndian.Uint64(start[framing:])
	if size > math.MaxInt64 {
		return 0, fmt.Errorf("%w: its header gives it %d bytes; `ostree fsck` lists what is wrong", ostreerepo.ErrCorrupted, size)
	}
	return int64(size), nil
}

func sizeError(c objects.Checksum, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: file %s", ostreerepo.ErrNoObject, c)
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", c, err)
	}
	return nil
}
