package ocimodel

import (
	"archive/tar"
	"bytes"
	"fmt"
)

var typeflags = map[Type]byte{Dir: tar.TypeDir, File: tar.TypeReg, Symlink: tar.TypeSymlink, HardLink: tar.TypeLink}

// Tar writes the layer's archive.
func (l Layer) Tar() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range l.Entries {
		h := &tar.Header{
			Typeflag: typeflags[e.Type], Name: e.Prefix + e.Path, Linkname: e.Link, Size: int64(len(e.Content)),
			Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, Format: tar.FormatPAX,
		}
		if e.Path == "" {
			h.Name = "./"
		}
		if e.Type == Dir && e.Path != "" {
			h.Name += "/"
		}
		if e.GNU {
			h.Format = tar.FormatGNU
		}
		for name, value := range e.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.Path, err)
		}
		if _, err := w.Write(e.Content); err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
