package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrShared says that somebody else can replace a directory or what is in it.
var ErrShared = errors.New("another user can replace what is there")

const (
	groupWritable = 0o020
	worldWritable = 0o002
)

// RefuseShared returns an ErrShared if a user other than root and that of this process can replace
// d or one of the things in it that the names say, by owning or writing to it or to a directory
// above. It is for a directory whose path is given to another program. Directories like /tmp, in
// which everybody can replace only their own, are good enough above d.
func (d *Dir) RefuseShared(names ...string) error {
	for _, name := range append([]string{"."}, names...) {
		stat, err := d.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if foreign(&stat) || writable(&stat) {
			return fmt.Errorf("%w: %s", ErrShared, d.Path(name))
		}
	}
	return d.eachAbove(func(above *Dir) error {
		stat, err := above.Stat(".")
		if err != nil {
			return err
		}
		if foreign(&stat) || writable(&stat) && stat.Mode&unix.S_ISVTX == 0 {
			return fmt.Errorf("%w: %s", ErrShared, above.RealPath())
		}
		return nil
	})
}

// foreign reports whether somebody else than root and we has the file.
func foreign(stat *unix.Stat_t) bool {
	return stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}

// writable reports whether others than the owner may write. Links have no mode.
func writable(stat *unix.Stat_t) bool {
	if stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		return false
	}
	group := stat.Mode&groupWritable != 0 && stat.Gid != 0 && int(stat.Gid) != os.Getegid()
	return group || stat.Mode&worldWritable != 0
}

// eachAbove visits the directories above d, the nearest first.
func (d *Dir) eachAbove(visit func(*Dir) error) error {
	at, err := d.above()
	if err != nil {
		return err
	}
	for {
		err := visit(at)
		var above *Dir
		if err == nil {
			above, err = at.above()
		}
		if err != nil {
			return errors.Join(err, at.Close())
		}
		top := at.Holds(".", above)
		if err := at.Close(); err != nil || top {
			return errors.Join(err, above.Close())
		}
		at = above
	}
}

// above opens the directory above d, with the rights of the process: it is only looked at.
func (d *Dir) above() (*Dir, error) {
	fd, err := openat(d.fd(), "..", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, d.error("open", "..", err)
	}
	return &Dir{file: os.NewFile(uintptr(fd), d.Path(".."))}, nil
}
