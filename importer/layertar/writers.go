package layertar

import (
	"fmt"
	"io"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// content is a file or symbolic link in the repository. Hard links share one.
type content struct {
	checksum objects.Checksum // set when the writers have finished
	target   string           // of a symbolic link; empty for a file
	size     int64            // of a file, in bytes
}

// writers write files into a staging repository. Its methods are called by one goroutine.
type writers struct {
	st     *ostreerepo.Staging
	pool   *blob.Writers
	labels Labels // nil for none
}

// file writes a regular file of size bytes, which it reads from r before it returns, with the label
// that belongs to an absolute path in the commit; the empty path has none. An error of r is
// returned as it is.
func (w *writers) file(entry, path string, header objects.FileHeader, size int64, r io.Reader) (*content, error) {
	result := &content{size: size}
	return result, w.pool.Write(size, r, func(data io.Reader) (err error) {
		header.Xattrs = labeled(w.labels, path, header.Mode, header.Xattrs)
		result.checksum, err = w.st.WriteFile(header, size, data)
		return writeError(entry, err)
	})
}

// symlink writes a symbolic link with the label that belongs to an absolute path in the commit; the
// empty path has none.
func (w *writers) symlink(entry, path string, header objects.FileHeader) (*content, error) {
	result := &content{target: header.Target}
	return result, w.pool.Write(0, nil, func(io.Reader) (err error) {
		header.Xattrs = labeled(w.labels, path, header.Mode, header.Xattrs)
		result.checksum, err = w.st.WriteSymlink(header)
		return writeError(entry, err)
	})
}

func writeError(entry string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing %s: %w", blob.Quote(entry), err)
}
