package selinux

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	maxFile   = 64 << 20 // bytes of a policy file; Fedora's largest has half a MiB
	maxConfig = 64 << 10
	maxLinks  = 40 // symlinks on the way to a file
	maxPath   = 4096
)

// idDomain stands before what is hashed to an ID. It changes when the same policy gives other
// labels here than before.
const idDomain = "ostree-importd selinux 1\x00"

// The files that decide, below TYPE/contexts/files.
const (
	mainFile = "file_contexts"
	subsFile = "file_contexts.subs"
	distFile = "file_contexts.subs_dist"
)

// specFiles hold the specifications, in the order in which they count.
var specFiles = []string{mainFile, "file_contexts.homedirs", "file_contexts.local"}

var policyFiles = append(specFiles[:len(specFiles):len(specFiles)], subsFile, distFile)

// sources is a policy that has not been looked into.
type sources struct {
	dir    string            // etc/selinux, for messages
	config config            // what the configuration says
	files  map[string]string // by name; those that are there
}

// config is what counts of the file config.
type config struct {
	enabled bool
	kind    string // SELINUXTYPE
}

// readSources finds the policy of a tree. It is nil when there is none or it is disabled.
func readSources(ctx context.Context, trees Reader, root objects.Checksum) (*sources, error) {
	t := tree{ctx: ctx, Reader: trees, root: root}
	dir := "etc/selinux"
	found, err := t.follow(dir)
	if err == nil && !found.Exists() {
		dir = "usr/etc/selinux"
	}
	if err != nil {
		return nil, err
	}
	src := &sources{dir: dir, files: map[string]string{}}
	text, there, err := t.read(dir+"/config", maxConfig)
	if err != nil || !there {
		return nil, err
	}
	if src.config, err = parseConfig(text); err != nil {
		return nil, fmt.Errorf("%w: %s/config: %w", ErrUnusable, dir, err)
	}
	if !src.config.enabled {
		return nil, nil
	}
	return src, src.read(t)
}

// parseConfig reads the configuration as libostree does: nothing but lines that begin with one of
// two keys.
func parseConfig(text string) (c config, err error) {
	if !utf8.ValidString(text) {
		return c, errors.New("it is not UTF-8")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, "SELINUXTYPE="); ok {
			c.kind = strings.Trim(value, separators)
		} else if value, ok := strings.CutPrefix(line, "SELINUX="); ok {
			value = strings.ToLower(value[:min(len(value), len("permissive"))])
			c.enabled = c.enabled || strings.HasPrefix(value, "enforcing") || value == "permissive"
		}
	}
	if c.enabled && (objects.ValidName(c.kind) != nil) {
		return c, fmt.Errorf("SELINUXTYPE is %.100q, which can't be the name of a policy; set it to that of the policy installed", c.kind)
	}
	return c, nil
}

// unusable says of an error that it makes the policy one that can't be used.
func (s *sources) unusable(err error) error {
	return fmt.Errorf("%w: %s/%s: %w", ErrUnusable, s.dir, s.config.kind, err)
}

// read reads the files that there are.
func (s *sources) read(t tree) error {
	base := s.dir + "/" + s.config.kind
	for _, name := range policyFiles {
		text, there, err := t.read(base+"/contexts/files/"+name, maxFile)
		if err != nil {
			return err
		}
		if there {
			s.files[name] = text
		}
	}
	hint := fmt.Sprintf("install the whole policy in the image, or say SELINUX=disabled in %s/config", s.dir)
	if _, there := s.files[mainFile]; !there {
		return s.unusable(fmt.Errorf("contexts/files/%s is missing; %s", mainFile, hint))
	}
	binary, err := t.hasBinaryPolicy(base + "/policy")
	if err == nil && !binary {
		err = s.unusable(fmt.Errorf("there is no binary policy, policy/policy.NN; %s", hint))
	}
	return err
}

// id hashes what decides.
func (s *sources) id() string {
	hash := sha256.New()
	io.WriteString(hash, idDomain)
	for _, name := range policyFiles {
		text := s.files[name]
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		io.WriteString(hash, text)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// tree finds files by their path.
type tree struct {
	ctx context.Context
	Reader
	root objects.Checksum
}

// follow finds what a path leads to, through symlinks, which stay inside the tree. What is not
// there is no error.
func (t tree) follow(path string) (ostreerepo.Found, error) {
	var done []string
	todo := strings.Split(path, "/")
	found, links := ostreerepo.Found{Dir: objects.TreeDir{Tree: t.root}}, 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = done[:max(len(done)-1, 0)]
			continue
		}
		if t.ctx.Err() != nil {
			return found, context.Cause(t.ctx)
		}
		here := strings.Join(append(done, name), "/")
		var err error
		if found, err = ostreerepo.Lookup(t, t.root, here); err != nil || !found.Exists() {
			return found, err
		}
		target, err := t.target(found)
		if err != nil {
			return found, err
		}
		if target == "" {
			done = append(done, name)
			continue
		}
		if links++; links > maxLinks || len(target)+len(path) > maxPath {
			return found, fmt.Errorf("%w: %s: too many symbolic links, or too long ones, lead from it", ErrUnusable, path)
		}
		if strings.HasPrefix(target, "/") {
			done = done[:0]
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return ostreerepo.Lookup(t, t.root, strings.Join(done, "/"))
}

// target gives the target of a symlink, "" for what is none.
func (t tree) target(found ostreerepo.Found) (string, error) {
	if found.IsDir() {
		return "", nil
	}
	header, content, err := t.OpenFile(found.File)
	if err != nil {
		return "", err
	}
	return header.Target, content.Close()
}

// read reads a file that may not be there.
func (t tree) read(path string, most int64) (text string, there bool, err error) {
	found, err := t.follow(path)
	if err != nil || !found.Exists() {
		return "", false, err
	}
	if found.IsDir() {
		return "", false, fmt.Errorf("%w: %s: it is a directory, not a file", ErrUnusable, path)
	}
	_, content, err := t.OpenFile(found.File)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", path, err)
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(content, most+1))
	switch err := errors.Join(err, content.Close()); {
	case err != nil:
		return "", false, fmt.Errorf("%s: %w", path, err)
	case n > most:
		return "", false, fmt.Errorf("%w: %s: it has more than %d bytes", ErrUnusable, path, most)
	}
	return b.String(), true, nil
}

var binaryPolicy = regexp.MustCompile(`^policy\.[0-9]{1,9}$`)

// hasBinaryPolicy tells whether a directory holds a regular file with the name of a binary policy.
func (t tree) hasBinaryPolicy(path string) (bool, error) {
	found, err := t.follow(path)
	if err != nil || !found.IsDir() {
		return false, err
	}
	dir, err := t.DirTree(found.Dir.Tree)
	if err != nil {
		return false, err
	}
	for _, f := range dir.Files {
		if !binaryPolicy.MatchString(f.Name) {
			continue
		}
		header, content, err := t.OpenFile(f.Checksum)
		if err != nil {
			return false, fmt.Errorf("%s/%s: %w", path, f.Name, err)
		}
		if err := content.Close(); err != nil || !header.IsSymlink() {
			return err == nil, err
		}
	}
	return false, nil
}
