package dirfd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrInRepository says that a directory lies in an OSTree repository.
var ErrInRepository = errors.New("the place lies in an OSTree repository")

// RefuseRepository returns an ErrInRepository if d, or a directory above it, is an OSTree
// repository: what is written there could replace objects and refs.
func (d *Dir) RefuseRepository() error {
	if d.isRepository() {
		return inRepository(d)
	}
	return d.RefuseRepositoryAbove()
}

// RefuseRepositoryAbove is RefuseRepository for a directory that may be a repository itself.
func (d *Dir) RefuseRepositoryAbove() error {
	return d.eachAbove(func(above *Dir) error {
		if above.isRepository() {
			return inRepository(above)
		}
		return nil
	})
}

func inRepository(d *Dir) error {
	return fmt.Errorf("%w, %s; name one outside of it", ErrInRepository, d.RealPath())
}

// isRepository looks for what every repository has.
func (d *Dir) isRepository() bool {
	for name, kind := range map[string]uint32{"config": unix.S_IFREG, "objects": unix.S_IFDIR, "refs": unix.S_IFDIR} {
		var stat unix.Stat_t
		if unix.Fstatat(d.fd(), name, &stat, 0) != nil || stat.Mode&unix.S_IFMT != kind {
			return false
		}
	}
	return true
}

// RealPath is the path of d now, without symbolic links.
func (d *Dir) RealPath() string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d.fd()))
	if err != nil {
		return d.Path("")
	}
	return path
}
