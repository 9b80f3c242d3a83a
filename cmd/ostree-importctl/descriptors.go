package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
)

// open opens what a request to the daemon names of the caller's files, with the
// caller's rights: the daemon's unit hides /tmp, /home and /root from it.
func open(request any) error {
	switch r := request.(type) {
	case *importer.Request:
		return openAccess(&r.Access)
	case *importer.UnencapsulateRequest:
		return openAccess(&r.Access)
	case *importer.EncapsulateRequest:
		return openAccess(&r.Access)
	case *importer.ExportRequest:
		return openAccess(&r.Access)
	case *importer.VerifyRequest:
		return openAccess(&r.Access)
	case *importer.CompareRequest:
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
