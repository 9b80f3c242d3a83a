package proxyclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxSecretFile bounds an authentication, policy or certificate file.
const maxSecretFile = 1 << 20

// AuthFiles returns the places at which DefaultAuthFile looks, in that order.
func AuthFiles(root string, uid int) []string {
	const name = "ostree/auth.json"
	var files []string
	if uid == 0 {
		for _, dir := range []string{"run", "etc", "usr/lib"} {
			files = append(files, filepath.Join(root, dir, name))
		}
		return files
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, name))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, name))
	}
	return files
}

// DefaultAuthFile returns the authentication file that is used when the caller
// names none, or "" when there is none. The order is that of the ostree
// container tools: for root (uid 0) /run/ostree/auth.json, /etc/ostree/auth.json,
// /usr/lib/ostree/auth.json below root, which is "/" on a running host; for
// others $XDG_RUNTIME_DIR/ostree/auth.json and $XDG_CONFIG_HOME/ostree/auth.json.
// The usual places of container tools ($HOME/.docker and so on) are not looked at.
// A candidate that exists but can't be looked at is an error.
func DefaultAuthFile(root string, uid int) (string, error) {
	for _, path := range AuthFiles(root, uid) {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &Error{Class: ClassConfig, Op: "authentication", Message: fmt.Sprintf("cannot use the authentication file: %v", err), Err: err}
		}
	}
	return "", nil
}

// authentication returns the contents of the authentication file to use, or nil
// for anonymous access.
func (c Config) authentication() ([]byte, error) {
	data, name := c.AuthData, "authentication data"
	if len(data) == 0 {
		path := c.AuthFile
		if path == "" && !c.Anonymous && !c.SkipTLSVerify {
			var err error
			if path, err = DefaultAuthFile("/", os.Geteuid()); err != nil {
				return nil, err
			}
		}
		if path == "" {
			return nil, nil
		}
		var err error
		if data, err = readBounded(path); err != nil {
			return nil, &Error{Class: ClassConfig, Op: "authentication", Message: fmt.Sprintf("cannot read the authentication file: %v", err), Err: err}
		}
		name = path
	}
	if len(data) > maxSecretFile {
		return nil, &Error{Class: ClassConfig, Op: "authentication", Message: fmt.Sprintf("%s is larger than %d bytes", name, maxSecretFile)}
	}
	// The proxy would say so only when the image is opened, and name a descriptor.
	if !json.Valid(data) {
		return nil, &Error{Class: ClassConfig, Op: "authentication", Message: fmt.Sprintf("%s is not JSON; `skopeo login --authfile FILE HOST` writes such a file", name)}
	}
	return data, nil
}

// readBounded reads a regular file of at most maxSecretFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSecretFile)
	}
	return data, nil
}
