package ostreerepo

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// verificationPrefix begins the options that name keys: verification-ed25519-key,
// verification-ed25519-file and so on.
const verificationPrefix = "verification-"

// remote is what a repository knows of a remote that is about the signatures of commits.
type remote struct {
	name    string
	options map[string]string
	keyring string // path of its GPG keyring; "": it has none of its own
}

// remoteName is what libostree accepts as one.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// keyringName is the file's name in the directory of the repository, or of the remotes.
func keyringName(remote string) string { return remote + ".trustedkeys.gpg" }

// maxParents bounds a chain of repositories each of which is the parent of another.
const maxParents = 8

// findRemote looks for a remote where libostree does: in the repository's configuration; for the
// host's repository, below root, in etc/ostree/remotes.d; and, also for single options and for the
// keyring, in the parent repository. The error is ErrSignature when there is none of that name.
func findRemote(repo, root, name string) (remote, error) {
	unknown := fmt.Errorf("%w: %s knows no remote %q: `ostree remote list` shows those that there are, `ostree remote add` adds one",
		ErrSignature, repo, name)
	if !remoteName.MatchString(name) {
		return remote{}, unknown
	}
	found, known := remote{name: name, options: make(map[string]string)}, false
	for range maxParents {
		level, parent, err := readRemote(repo, root, name)
		if err != nil {
			return remote{}, fmt.Errorf("remote %s: %w", name, err)
		}
		for option, value := range level.options {
			// Unlike the rest, this one is not handed down piece by piece.
			if _, set := found.options[option]; !set && (option != "gpgkeypath" || !known) {
				found.options[option] = value
			}
		}
		known = known || len(level.options) > 0
		if found.keyring == "" {
			found.keyring = level.keyring
		}
		if parent == "" {
			break
		}
		repo = parent
	}
	if !known {
		return remote{}, unknown
	}
	return found, nil
}

// readRemote reads what one repository itself knows, and the path of its parent.
func readRemote(repo, root, name string) (found remote, parent string, err error) {
	b, err := os.ReadFile(filepath.Join(repo, "config"))
	if err != nil {
		return remote{}, "", err
	}
	group := fmt.Sprintf("remote %q", name) // a name has nothing in it that would be escaped
	found = remote{name: name, options: KeyFileGroup(string(b), group)}
	if parent = KeyFileGroup(string(b), "core")["parent"]; parent != "" {
		if parent, err = filepath.Abs(parent); err != nil {
			return remote{}, "", err
		}
	}
	dirs := []string{repo}
	if isHost(repo, root) {
		dir := filepath.Join(root, "etc/ostree/remotes.d")
		dirs = append(dirs, dir)
		files, err := filepath.Glob(escapeGlob(dir) + "/*.conf")
		if err != nil {
			return remote{}, "", err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return remote{}, "", err
			}
			maps.Copy(found.options, KeyFileGroup(string(b), group))
		}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, keyringName(name))
		_, err := os.Stat(path)
		if err == nil {
			found.keyring = path
			break
		}
		if !errors.Is(err, fs.ErrNotExist) { // without it, other keys would count
			return remote{}, "", err
		}
	}
	return found, parent, nil
}

// isHost reports whether the repository is the one of the host whose file system root is.
func isHost(repo, root string) bool {
	host, err := os.Stat(filepath.Join(root, "ostree/repo"))
	if err != nil {
		return false
	}
	info, err := os.Stat(repo)
	return err == nil && os.SameFile(host, info)
}

// group returns the part of a configuration file that makes libostree verify commits as the remote
// wants it.
func (r remote) group() string {
	var text strings.Builder
	// libostree's default, and a group must not be empty. Where an option is there twice, the last
	// counts.
	fmt.Fprintf(&text, "\n[remote %q]\ngpg-verify=true\n", r.name)
	for _, option := range slices.Sorted(maps.Keys(r.options)) {
		switch {
		case option == "gpg-verify", option == "gpgkeypath", option == "sign-verify", strings.HasPrefix(option, verificationPrefix):
			fmt.Fprintf(&text, "%s=%s\n", option, r.options[option])
		}
	}
	return text.String()
}

// isFalse reports whether an option is one of those values of a key file that mean no.
func isFalse(value string) bool { return value == "false" || value == "0" }

// escapeGlob makes filepath.Glob take a path as it is.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
