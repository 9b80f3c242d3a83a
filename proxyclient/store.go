package proxyclient

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

const (
	storagePrefix = "containers-storage:"
	// hostStore is where root's container storage is unless storageConf says otherwise.
	hostStore   = "/var/lib/containers/storage"
	storageConf = "/etc/containers/storage.conf"
)

// checkStore refuses a reference that would make the proxy, which is as privileged as we are here,
// write elsewhere than to an existing storage of our user: opening one makes its directories, and
// its options may name a program to run. A reference to another transport is no concern of it.
func checkStore(ref string) error {
	name, ok := strings.CutPrefix(ref, storagePrefix)
	if !ok {
		return nil
	}
	spec, ok := strings.CutPrefix(name, "[")
	if !ok {
		return checkHostStore()
	}
	spec, _, ok = strings.Cut(spec, "]")
	if !ok {
		return storeError(ClassConfig, "the storage has no end; write containers-storage:[DRIVER@DIRECTORY+DIRECTORY]NAME", nil)
	}
	if _, after, ok := strings.Cut(spec, "@"); ok {
		spec = after
	}
	if strings.Contains(spec, ":") {
		return storeError(ClassConfig, "a reference may not give a container storage options; set them in "+storageConf, nil)
	}
	graph, run, hasRun := strings.Cut(spec, "+")
	if err := checkStoreDir(graph); err != nil {
		return err
	}
	if hasRun {
		if err := checkStoreDir(run); err != nil {
			return err
		}
	}
	return checkIsStore(graph)
}

func storeError(class Class, message string, err error) *Error {
	if err != nil {
		message += ": " + err.Error()
	}
	return &Error{Class: class, Op: "OpenImage", Message: message, Err: err}
}

// graphRoot is the setting of storageConf that says where the host's storage is.
var graphRoot = regexp.MustCompile(`(?m)^\s*graphroot\s*=\s*"([^"]*)"`)

// checkHostStore looks whether root's container storage is there. Others have their own, below
// directories of their own.
func checkHostStore() error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir := hostStore
	if conf, err := readBounded(storageConf); err == nil {
		if found := graphRoot.FindSubmatch(conf); found != nil {
			dir = string(found[1])
		}
	}
	return checkIsStore(dir)
}

// checkIsStore looks for what every container storage has.
func checkIsStore(dir string) error {
	found, err := filepath.Glob(escapeGlob(dir) + "/*-images")
	if err != nil || len(found) == 0 {
		return storeError(ClassNotFound, "there is no container storage in "+dir+"; name that of an existing one", err)
	}
	return nil
}

// escapeGlob makes filepath.Glob take a path as it is.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// checkStoreDir wants an existing directory that nobody but root and our user can replace or write
// to.
func checkStoreDir(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return storeError(ClassConfig, fmt.Sprintf("the container storage %q has no clean absolute path", dir), nil)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return storeError(ClassNotFound, "cannot find the container storage", err)
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return storeError(ClassNotFound, "cannot find the container storage", err)
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		switch {
		case !info.IsDir():
			return storeError(ClassConfig, at+" of the container storage is not a directory", nil)
		case owner != 0 && owner != os.Geteuid():
			return storeError(ClassConfig, "others own "+at+" of the container storage", nil)
		case info.Mode()&0o022 != 0 && (at == real || info.Mode()&fs.ModeSticky == 0):
			return storeError(ClassConfig, "others may write to "+at+" of the container storage", nil)
		}
		if at == "/" {
			return nil
		}
	}
}
