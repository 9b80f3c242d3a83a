package encapsulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// maxChangelog bounds how many changes of a package are looked at.
	maxChangelog = 1000

	year = 365 * 24 * 60 * 60 // seconds
)

// rpmDirs are the places where a commit keeps the RPM database.
var rpmDirs = []string{"usr/share/rpm", "usr/lib/sysimage/rpm", "var/lib/rpm"}

// readRPM reads which files belong to the packages of the commit's RPM database, and how often
// these changed.
func readRPM(ctx context.Context, t *tree, opts Options) (*packages, error) {
	dir, name, found := rpmDatabase(t)
	if !found {
		return nil, errNoDatabase
	}
	if opts.RPM == nil {
		return nil, errors.New("this program has no reader for it")
	}
	fill := func(to string, limit int64) error {
		for _, file := range append([]string{name}, rpmdb.Companions(name)...) {
			copied, err := t.copyFile(ctx, path.Join(dir, file), filepath.Join(to, file), limit)
			if err != nil {
				return fmt.Errorf("/%s/%s: %w", dir, file, err)
			}
			limit -= copied
		}
		return nil
	}
	answer := rpmAnswer{packages: newPackages(t), changes: make(map[string][]int64)}
	if err := opts.RPM.Read(ctx, name, fill, answer.record); err != nil {
		return nil, err
	}
	return answer.finish(), nil
}

// rpmDatabase finds the directory and the main file of the database.
func rpmDatabase(t *tree) (dir, name string, found bool) {
	for _, dir := range rpmDirs {
		for _, name := range rpmdb.Names() {
			if _, found := t.files[path.Join(dir, name)]; found {
				return dir, name, true
			}
		}
	}
	return "", "", false
}

// copyFile writes a regular file of the commit, if it is there, to a new file. One of more than
// limit bytes is an error.
func (t *tree) copyFile(ctx context.Context, from, to string, limit int64) (size int64, err error) {
	c, found := t.files[from]
	if !found {
		return 0, nil
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return copyObject(t.repo, c, to, limit)
}

func copyObject(repo *ostreerepo.Repo, c objects.Checksum, to string, limit int64) (size int64, err error) {
	h, r, err := repo.OpenFile(c)
	if err != nil {
		return 0, err
	}
	if h.IsSymlink() {
		return 0, errors.Join(errors.New("it is a symbolic link"), closeIf(r))
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, errors.Join(err, r.Close())
	}
	size, err = io.Copy(f, io.LimitReader(r, limit+1))
	if err == nil && size > limit {
		err = fmt.Errorf("it has more than the %d bytes that are read of a database", limit)
	}
	return size, errors.Join(err, f.Close(), r.Close())
}

func closeIf(r io.Closer) error {
	if r == nil {
		return nil
	}
	return r.Close()
}

// rpmAnswer takes the records of a database.
type rpmAnswer struct {
	packages *packages
	name     string             // of the package that the records are about
	newest   int64              // time at which the last package was built, in seconds
	changes  map[string][]int64 // times, in seconds
}

func (a *rpmAnswer) record(kind rpmdb.Kind, value string) error {
	switch kind {
	case rpmdb.KindPackage:
		a.name = value
	case rpmdb.KindFile:
		a.packages.claim(a.name, value)
	case rpmdb.KindBuilt, rpmdb.KindChange:
		t, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return err
		case kind == rpmdb.KindBuilt:
			a.newest = max(a.newest, t)
		case len(a.changes[a.name]) < maxChangelog:
			a.changes[a.name] = append(a.changes[a.name], t)
		}
	}
	return nil
}

// finish counts the changes of the year before the newest package was built.
func (a *rpmAnswer) finish() *packages {
	for name, times := range a.changes {
		for _, changed := range times {
			if changed > a.newest-year {
				a.packages.changes[name]++
			}
		}
	}
	return a.packages
}
