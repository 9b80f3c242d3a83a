package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// config is what we need of a repository's configuration file.
type config struct {
	mode      Mode
	tmpExpiry time.Duration // ostree deletes what is older than this from tmp/
	keepFree  keepFree
}

// readConfig reads the configuration of the repository at path. Defaults are libostree's.
func readConfig(path string) (config, error) {
	b, err := os.ReadFile(filepath.Join(path, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, notRepository(path, "it has no file \"config\"")
	}
	if err != nil {
		return config{}, err
	}
	core := KeyFileGroup(string(b), "core")
	if v := core["repo_version"]; v != "1" {
		return config{}, notRepository(path, fmt.Sprintf("its configuration says repo_version=%.20q instead of 1", v))
	}
	conf := config{mode: ModeBare, tmpExpiry: 24 * time.Hour}
	switch mode := core["mode"]; mode {
	case "":
	case "archive-z2":
		conf.mode = ModeArchive
	default:
		conf.mode = Mode(mode)
	}
	if conf.keepFree, err = readKeepFree(core); err != nil {
		return config{}, fmt.Errorf("%s/config: %w", path, err)
	}
	if text, ok := core["tmp-expiry-secs"]; ok {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return config{}, fmt.Errorf("%s/config: tmp-expiry-secs: %w", path, err)
		}
		conf.tmpExpiry = time.Duration(seconds) * time.Second
	}
	return conf, nil
}

// KeyFileGroup returns the keys of a group of a GLib key file with their values as they are
// written: escapes are not resolved. As in GLib the last of several equal keys counts. Lines that a
// key file can't have are passed over.
func KeyFileGroup(text, group string) map[string]string {
	keys := make(map[string]string)
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inside = line == "["+group+"]"
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if inside && ok && !strings.HasPrefix(line, "#") {
			keys[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return keys
}
