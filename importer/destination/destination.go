// Package destination puts in its place what another program has written: a file, or a directory of
// files, such as skopeo makes of an image in a private directory.
//
// The destination's directory is opened once. What is put there is copied to a private directory
// beside the destination and takes its name by a rename, so that the destination holds what it did
// before, or everything. No symbolic link is followed, neither at the destination, whose directory
// may belong to anybody, nor in what the other program has written.
package destination

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

const (
	fileMode, dirMode = 0o644, 0o755 // less the umask
	// madeName is what the new file or directory is called in the private directory.
	madeName = "made"
)

// Kind is what is put at a destination.
type Kind int

// The kinds.
const (
	File Kind = iota
	// ImageDir is a directory with nothing but files, of the transport dir.
	ImageDir
)

// Place is a destination. It must be closed.
type Place struct {
	kind   Kind
	parent *dirfd.Dir
	name   string     // in parent
	old    *dirfd.Dir // an ImageDir that is there; nil: none
}

// Open checks the destination at a path, whose parent directory must exist; opened is that
// directory if somebody has opened it, and stays theirs. A file is replaced; so is a directory that
// is empty or holds an image of the transport dir. Errors: dirfd.ErrInRepository.
func Open(path string, kind Kind, opened *dirfd.Dir) (*Place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	p := &Place{kind: kind, name: filepath.Base(abs)}
	if p.parent, err = dirfd.OpenParent(abs, opened); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if err = p.parent.RefuseRepository(); err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), p.Close())
	}
	return p, nil
}

// check refuses what may not be replaced.
func (p *Place) check() error {
	stat, err := p.parent.Stat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kind := stat.Mode & unix.S_IFMT
	if p.kind == File {
		if kind != unix.S_IFREG && kind != unix.S_IFLNK {
			return errors.New("it would replace something that is no file; name another one")
		}
		return nil
	}
	if kind != unix.S_IFDIR {
		return errors.New("it is no directory; name another one")
	}
	if p.old, err = p.parent.OpenDir(p.name); err != nil {
		return err
	}
	return checkImageDir(p.old)
}

// Put copies what is called name in a directory to the destination. It is called once.
func (p *Place) Put(ctx context.Context, dir, name string) error {
	if err := p.put(ctx, dir, name); err != nil {
		return fmt.Errorf("write %s: %w", p.parent.Path(p.name), err)
	}
	return nil
}

func (p *Place) put(ctx context.Context, dir, name string) (err error) {
	from, err := dirfd.Open(dir)
	if err != nil {
		return err
	}
	defer from.Close()
	private, err := scratch.New(p.parent)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	if p.kind == File {
		err = copyFile(ctx, from, name, private.Dir, madeName)
	} else {
		err = copyDir(ctx, from, name, private.Dir, madeName)
	}
	if err != nil {
		return err
	}
	if p.old != nil {
		err = p.exchange(private)
	} else {
		err = private.Rename(madeName, p.parent, p.name)
	}
	if err != nil {
		return err
	}
	return p.parent.Sync()
}

// exchange takes the place of the directory that was checked, which goes with the private
// directory. One that has come there since goes back.
func (p *Place) exchange(private *scratch.Dir) error {
	err := private.Exchange(madeName, p.parent, p.name)
	if errors.Is(err, unix.EINVAL) {
		return errors.New("its file system cannot replace a directory at once; remove the directory first")
	}
	if err != nil {
		return err
	}
	if private.Holds(madeName, p.old) {
		return nil
	}
	err = errors.New("somebody has replaced the directory meanwhile; name one that only you can write to")
	return errors.Join(err, private.Exchange(madeName, p.parent, p.name))
}

// Close leaves the destination as it is.
func (p *Place) Close() error {
	var err error
	if p.old != nil {
		err = p.old.Close()
	}
	return errors.Join(err, p.parent.Close())
}

// copyDir copies a directory of files.
func copyDir(ctx context.Context, from *dirfd.Dir, name string, to *dirfd.Dir, newName string) error {
	in, err := from.OpenDir(name)
	if err != nil {
		return err
	}
	defer in.Close()
	names, err := in.Names()
	if err != nil {
		return err
	}
	out, err := to.MakeDir(newName, dirMode)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, name := range names {
		if err := copyFile(ctx, in, name, out, name); err != nil {
			return err
		}
	}
	return out.Sync()
}

// copyFile copies a regular file.
func copyFile(ctx context.Context, from *dirfd.Dir, name string, to *dirfd.Dir, newName string) error {
	in, err := from.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is no regular file", in.Name()), err)
	}
	out, err := to.OpenFile(newName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	err = copyContent(ctx, out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// copyContent copies in pieces, between which it looks at ctx. The kernel copies, or shares the
// blocks, where it can.
func copyContent(ctx context.Context, to, from *os.File) error {
	const piece = 64 << 20 // bytes
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n, err := io.CopyN(to, from, piece); errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		} else if err != nil {
			return err
		}
	}
}
