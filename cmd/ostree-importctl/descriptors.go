package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	exporter "github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// open opens what a request to the daemon names of the caller's files, with the
// caller's rights: the daemon's unit hides /tmp, /home and /root from it.
func open(request any) (err error) {
	switch r := request.(type) {
	case *importer.Request:
		if r.ImageFD, err = openImage(r.Image); err != nil && !r.Offline {
			return err
		}
		return openAccess(&r.Access)
	case *importer.UnencapsulateRequest:
		if r.ImageFD, err = openImage(r.Image); err != nil {
			return err
		}
		return openAccess(&r.Access)
	case *importer.EncapsulateRequest:
		if r.PriorFD, err = openImage(r.Prior); err != nil {
			return err
		}
		if r.DestinationFD, err = openDestination(r.Destination); err != nil {
			return err
		}
		return openAccess(&r.Access)
	case *importer.ExportRequest:
		if r.DestinationFD, err = openDestination(r.Destination); err != nil {
			return err
		}
		return openAccess(&r.Access)
	case *importer.VerifyRequest:
		return openAccess(&r.Access)
	case *importer.CompareRequest:
		if r.Other != "" {
			return openAccess(&r.Access)
		}
		if r.ImageFD, err = openImage(r.Image); err != nil {
			return err
		}
		return openAccess(&r.Access)
	}
	return nil
}

// openAccess opens the credentials and keys.
func openAccess(access *importer.Access) (err error) {
	if access.AuthFile != "" {
		if access.AuthFD, err = openFile("--authfile", access.AuthFile); err != nil {
			return err
		}
	}
	for _, key := range access.DecryptionKeys {
		path, _, isFile := importer.KeyFile(key)
		if !isFile {
			continue
		}
		opened, err := openFile("--decryption-key", path)
		if err != nil {
			return err
		}
		access.KeyFDs = append(access.KeyFDs, opened)
	}
	return nil
}

// openImage opens an image that is a file or a directory; nil for one that is
// not. It is an error that there is none; of one that cannot be opened here the
// daemon says why.
func openImage(text string) (*importer.Descriptor, error) {
	ref, err := reference.Parse(text)
	if err != nil {
		return nil, nil
	}
	path, _, isPath := ref.Image.Path()
	if !isPath {
		return nil, nil
	}
	flags := os.O_RDONLY | unix.O_NONBLOCK
	if ref.Image.Transport == reference.TransportOCI || ref.Image.Transport == reference.TransportDir {
		flags = unix.O_PATH | unix.O_DIRECTORY
	}
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &importer.Error{Kind: importer.KindReferenceNotFound, Stage: importer.StageOpen, Err: err}
	}
	if err != nil {
		return nil, nil
	}
	d, err := importer.NewDescriptor(f)
	if err != nil {
		return nil, nil
	}
	return d, nil
}

// openDestination opens the directory in which a destination is; nil for one
// that is no path. Of one that cannot be opened here the daemon says why.
func openDestination(text string) (*importer.Descriptor, error) {
	dest, err := exporter.ParseDestination(text)
	if err != nil {
		return nil, nil
	}
	path := dest.Path
	if dest.Root == "" {
		name, _, isPath := dest.Image.Path()
		if !isPath || isLink(name) { // the daemon follows no link of a directory that was passed
			return nil, nil
		}
		path = name
	}
	parent, err := dirfd.Open(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &importer.Error{Kind: importer.KindFailed, Stage: importer.StageExport, Err: err}
	}
	if err != nil {
		return nil, nil
	}
	return importer.NewDescriptor(parent.File())
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// openFile opens the file that an option names. A pipe must not block.
func openFile(option, path string) (*importer.Descriptor, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", option, err)}
	}
	d, err := importer.NewDescriptor(f)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s=%s: %w", option, path, err)}
	}
	return d, nil
}
