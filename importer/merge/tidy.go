package merge

import (
	"errors"
	"io"
)

// tidy removes etc/hostname and etc/resolv.conf if they are empty. Container engines mount their
// own over them in a build, and what an image then has is the empty file that they were mounted on,
// which on a host would stand in the way of a real one.
func (m *merger) tidy() error {
	for _, path := range []string{"etc/hostname", "etc/resolv.conf"} {
		dir, name := split(m.paths.inCommit(path))
		etc, err := m.lookup(m.root, dir)
		if err != nil || etc.dir == nil {
			return err
		}
		empty, err := m.isEmptyFile(entry{file: etc.dir.files[name]})
		if err != nil {
			return err
		}
		if empty {
			etc.dir.remove(name)
		}
	}
	return nil
}

// isEmptyFile tells whether an entry is a regular file without content.
func (m *merger) isEmptyFile(e entry) (bool, error) {
	if e.file.IsZero() {
		return false, nil
	}
	header, content, err := m.st.OpenFile(e.file)
	if err != nil {
		return false, err
	}
	n, err := io.ReadFull(content, make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n == 0 && !header.IsSymlink(), errors.Join(err, content.Close())
}
