package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

const (
	// recordAttr is the extended attribute in which a file says what it was made of.
	recordAttr = "user.ostree-importd.export"
	maxRecord  = 1 << 10

	configSuffix = ".config.json"
	configMade   = "1 config" // what the record of a config begins with
	fileMode     = 0o644
)

// ErrForeignConfig says that the file at a config's place was not written here.
var ErrForeignConfig = errors.New("the file beside the destination was not written by an export; remove it or name another destination")

// file is one that is being written, in a private directory beside its destination.
type file struct {
	parent *dirfd.Dir
	name   string // of the destination, in parent
	dir    *scratch.Dir
	out    *os.File
}

const (
	outName    = "root"
	configName = "config"
)

// at opens the directory of a destination's file: the one that is given, or else the one in its
// path, which is resolved here, once. The caller must close what it returns. Errors:
// dirfd.ErrInRepository.
func at(dest Destination) (*file, error) {
	path, err := filepath.Abs(dest.Path)
	if err != nil {
		return nil, err
	}
	parent, err := dirfd.OpenParent(path, dest.Parent)
	if err != nil {
		return nil, err
	}
	if err := parent.RefuseRepository(); err != nil {
		return nil, errors.Join(err, parent.Close())
	}
	return &file{parent: parent, name: filepath.Base(path)}, nil
}

// create begins the file, beside which there will be a config, nil for none. Errors:
// ErrForeignConfig.
func (f *file) create(config []byte) error {
	stat, err := f.parent.Stat(f.name)
	switch kind := stat.Mode & unix.S_IFMT; {
	case err == nil && kind == unix.S_IFDIR:
		return fmt.Errorf("%s is a directory; name a file", f.parent.Path(f.name))
	case err == nil && kind != unix.S_IFREG && kind != unix.S_IFLNK:
		return fmt.Errorf("%s is no regular file; name another one", f.parent.Path(f.name))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.checkConfig(config); err != nil {
		return err
	}
	if f.dir, err = scratch.New(f.parent); err != nil {
		return err
	}
	f.out, err = f.dir.OpenFile(outName, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	return err
}

// publish gives the file its name, with a record of what it was made of, and puts the config beside
// it. It returns the file's size.
func (f *file) publish(made string, config []byte) (uint64, error) {
	info, err := mark(f.out, made)
	if err != nil {
		return 0, err
	}
	crashpoint.Pass("export written")
	if err := f.putConfig(config); err != nil {
		return 0, err
	}
	crashpoint.Pass("export configured")
	if err := f.dir.Rename(outName, f.parent, f.name); err != nil {
		return 0, err
	}
	crashpoint.Pass("export named")
	return uint64(info.Size()), f.parent.Sync()
}

// mark writes the record of a file that is complete, and has it survive a crash.
func mark(f *os.File, made string) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Not every file system has extended attributes. Without the record the file is just written
	// anew the next time.
	if err := unix.Fsetxattr(int(f.Fd()), recordAttr, []byte(record(made, info)), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return nil, fmt.Errorf("extended attribute %s of %s: %w", recordAttr, f.Name(), err)
	}
	return info, f.Sync()
}

// putConfig writes the config beside the destination; without one it removes what is there.
func (f *file) putConfig(config []byte) error {
	if err := f.checkConfig(config); err != nil {
		return err
	}
	name := f.name + configSuffix
	if config == nil {
		if err := f.parent.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	temporary, err := f.dir.OpenFile(configName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = temporary.Write(config)
	if err == nil {
		_, err = mark(temporary, configMade)
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return f.dir.Rename(configName, f.parent, name)
}

// checkConfig refuses to replace what is at the config's place unless an export wrote it, or it is
// the same.
func (f *file) checkConfig(config []byte) error {
	name := f.name + configSuffix
	there, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.parent.Path(name), ErrForeignConfig)
	}
	defer there.Close()
	made, err := recordOf(there)
	if err == nil && strings.HasPrefix(made, configMade+" ") {
		return nil
	}
	raw, readErr := io.ReadAll(io.LimitReader(there, document.MaxSize+1))
	if readErr != nil {
		return readErr
	}
	if config != nil && bytes.Equal(raw, config) || errors.Is(err, unix.ENOTSUP) && isConfig(raw) {
		return nil
	}
	return fmt.Errorf("%s: %w", there.Name(), ErrForeignConfig)
}

// isConfig reports whether a file is an image config. On a file system without extended attributes
// nothing else tells one of ours.
func isConfig(raw []byte) bool {
	config, err := document.ParseConfig(raw)
	return err == nil && config.RootFS.Type == "layers"
}

// close removes what was not published.
func (f *file) close() error {
	var err error
	if f.out != nil {
		err = f.out.Close()
	}
	if f.dir != nil {
		err = errors.Join(err, f.dir.Close())
	}
	return errors.Join(err, f.parent.Close())
}

// record is what a file says of itself. Size and time tell whether it was changed since.
func record(made string, info fs.FileInfo) string {
	return fmt.Sprintf("%s size=%d mtime=%d", made, info.Size(), info.ModTime().UnixNano())
}

// recordOf reads the record of a file.
func recordOf(f *os.File) (string, error) {
	value := make([]byte, maxRecord)
	n, err := unix.Fgetxattr(int(f.Fd()), recordAttr, value)
	return string(value[:max(n, 0)]), err
}

// open opens a regular file beside the destination, or the destination itself.
func (f *file) open(name string) (*os.File, error) {
	opened, err := f.parent.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", opened.Name())
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// existing reports whether the file was made of the same, and has the config beside it, and gives
// its size. A file that somebody else could have written is written anew.
func (f *file) existing(made string, config []byte) (size uint64, ok bool) {
	there, err := f.open(f.name)
	if err != nil {
		return 0, false
	}
	defer there.Close()
	info, err := there.Stat()
	if err != nil || info.Mode()&0o022 != 0 {
		return 0, false
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	value, err := recordOf(there)
	uid, _ := f.parent.Maker()
	if err != nil || !known || int(stat.Uid) != uid || value != record(made, info) {
		return 0, false
	}
	return uint64(info.Size()), f.hasConfig(config)
}

func (f *file) hasConfig(config []byte) bool {
	there, err := f.open(f.name + configSuffix)
	if err != nil {
		return config == nil && errors.Is(err, fs.ErrNotExist)
	}
	defer there.Close()
	content, err := io.ReadAll(io.LimitReader(there, document.MaxSize+1))
	return err == nil && config != nil && bytes.Equal(content, config)
}
