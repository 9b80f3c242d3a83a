package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// Descriptor is a file or directory that a caller has opened itself and passed. It takes the place
// of a path that this process sees otherwise than the caller, or may open where the caller may not.
// A file is read, by position; what is in a directory is opened with the rights of the caller's
// user. As JSON, which cannot hold it, it says only which file and whose rights are meant.
type Descriptor struct {
	file   *os.File
	rights *dirfd.Rights
	id     fileID
}

// fileID tells files from each other.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	UID    uint32 `json:"uid"`
}

// NewDescriptor makes a Descriptor of an open file, which becomes its own. The rights are those of
// the process until SetRights.
func NewDescriptor(f *os.File) (*Descriptor, error) {
	d := &Descriptor{file: f}
	var stat unix.Stat_t
	err := d.control(func(fd int) error { return unix.Fstat(fd, &stat) })
	if err != nil {
		return nil, err
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, errors.New("it is neither a regular file nor a directory")
	}
	d.SetRights(&dirfd.Rights{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	d.id.Device, d.id.Inode = stat.Dev, stat.Ino
	return d, nil
}

// SetRights says whose rights hold below a directory. It comes before all use.
func (d *Descriptor) SetRights(r *dirfd.Rights) { d.rights, d.id.UID = r, r.UID }

// File is the open file, which stays the Descriptor's.
func (d *Descriptor) File() *os.File { return d.file }

// IsOurs reports whether the image is at its path, as this process sees it, and of this process's
// user: then nothing keeps it from the path.
func (d *Descriptor) IsOurs(image reference.Image) bool {
	path, _, isPath := image.Path()
	var stat unix.Stat_t
	return isPath && int(d.id.UID) == os.Geteuid() && unix.Stat(path, &stat) == nil &&
		stat.Dev == d.id.Device && stat.Ino == d.id.Inode
}

// control calls f with the descriptor, which stays open meanwhile and is not set to block.
func (d *Descriptor) control(f func(fd int) error) error {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// errGone is what becomes of a Descriptor that has been closed, or written down and read again.
var errGone = errors.New("the file that the caller has passed is closed; pass it again, in the call that does the work")

// ReadFile reads a file of at most limit bytes.
func (d *Descriptor) ReadFile(limit int64) ([]byte, error) {
	content, err := d.Content()
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(content, limit+1))
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.EISDIR) {
		err = fmt.Errorf("the caller has not opened a file for reading: %w", err)
	}
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return raw, err
}

// Content is the content of a file from its beginning, wherever the caller has read to. Only for as
// long as the Descriptor is open.
func (d *Descriptor) Content() (io.Reader, error) {
	if d.file == nil {
		return nil, errGone
	}
	info, err := d.file.Stat()
	if errors.Is(err, os.ErrClosed) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(d.file, 0, info.Size()), nil
}

// OpenDir opens a directory. What is in it is reached with the caller's rights.
func (d *Descriptor) OpenDir() (*dirfd.Dir, error) {
	if d.file == nil {
		return nil, errGone
	}
	dir, err := dirfd.OpenFrom(d.file, d.rights)
	if errors.Is(err, os.ErrClosed) {
		return nil, errGone
	}
	return dir, err
}

// Close closes the file. It may wait for the file system, and may be called more than once.
func (d *Descriptor) Close() {
	if d != nil && d.file != nil {
		_ = d.file.Close() // nothing was written to it
	}
}

// MarshalJSON implements json.Marshaler.
func (d *Descriptor) MarshalJSON() ([]byte, error) { return json.Marshal(d.id) }

// UnmarshalJSON implements json.Unmarshaler. What is read cannot be opened any more.
func (d *Descriptor) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, &d.id) }
