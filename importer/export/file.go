package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
)

const (
	// recordAttr is the extended attribute in which a file says what it was made of.
	recordAttr = "user.ostree-importd.export"
	maxRecord  = 1 << 10

	configSuffix = ".config.json"
	fileMode     = 0o644
)

// file is one that is being written, in a private directory beside its destination.
type file struct {
	path string // of the destination
	dir  *scratch.Dir
	out  *os.File
}

const (
	outName    = "root"
	configName = "config"
)

// create begins a file that will be at path.
func create(path string) (*file, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name a file", path)
	case err == nil && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink:
		return nil, fmt.Errorf("%s is no regular file; name another one", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f := &file{path: path}
	if f.dir, err = scratch.New(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if f.out, err = os.OpenFile(f.dir.Path(outName), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// publish gives the file its name, with a record of what it was made of, and puts the config beside it. It returns the file's size.
func (f *file) publish(made string, config []byte) (uint64, error) {
	if err := f.out.Chmod(fileMode); err != nil {
		return 0, err
	}
	info, err := f.out.Stat()
	if err != nil {
		return 0, err
	}
	// Not every file system has extended attributes. Without the record the file is just written anew the next time.
	if err := unix.Fsetxattr(int(f.out.Fd()), recordAttr, []byte(record(made, info)), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return 0, fmt.Errorf("extended attribute %s of %s: %w", recordAttr, f.out.Name(), err)
	}
	if err := f.out.Sync(); err != nil {
		return 0, err
	}
	if err := f.putConfig(config); err != nil {
		return 0, err
	}
	if err := os.Rename(f.dir.Path(outName), f.path); err != nil {
		return 0, err
	}
	return uint64(info.Size()), scratch.SyncDir(filepath.Dir(f.path))
}

// putConfig writes the config beside the destination; without one it removes what is there.
func (f *file) putConfig(config []byte) error {
	path := f.path + configSuffix
	if config == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	temporary, err := os.OpenFile(f.dir.Path(configName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = temporary.Write(config)
	if err == nil {
		err = temporary.Chmod(fileMode)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// close removes what was not published.
func (f *file) close() error {
	var err error
	if f.out != nil {
		err = f.out.Close()
	}
	return errors.Join(err, f.dir.Close())
}

// record is what a file says of itself. Size and time tell whether it was changed since.
func record(made string, info fs.FileInfo) string {
	return fmt.Sprintf("%s size=%d mtime=%d", made, info.Size(), info.ModTime().UnixNano())
}

// existing reports whether the file at path was made of the same, and has the config beside it, and gives its size.
func existing(path, made string, config []byte) (size uint64, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	value := make([]byte, maxRecord)
	n, err := unix.Fgetxattr(int(f.Fd()), recordAttr, value)
	if err != nil || string(value[:n]) != record(made, info) {
		return 0, false
	}
	return uint64(info.Size()), hasConfig(path+configSuffix, config)
}

func hasConfig(path string, config []byte) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return config == nil && errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, document.MaxSize+1))
	return err == nil && config != nil && bytes.Equal(content, config)
}
