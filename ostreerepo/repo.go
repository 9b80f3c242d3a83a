package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Mode is how a repository stores its objects.
type Mode string

// The modes that can be written. A repository of another mode can be opened, and its refs and
// metadata objects be read.
const (
	ModeBare     Mode = "bare"
	ModeBareUser Mode = "bare-user"
	ModeArchive  Mode = "archive" // "archive-z2" in configuration files
)

// Options are the settings of Open and Create.
type Options struct {
	Command string             // name or path of the ostree command; empty: "ostree"
	Log     logrus.FieldLogger // nil: nothing is logged
}

// Repo is an OSTree repository. Its methods may be called at the same time by several goroutines.
// It needs no closing.
type Repo struct {
	path    string // absolute
	config  config
	command string
	version Version
	log     logrus.FieldLogger
	landing chan struct{} // holds a value while a Staging lands
}

// Open opens the repository at path. Errors: ErrNotRepository, ErrToolMissing.
func Open(ctx context.Context, path string, opts Options) (*Repo, error) {
	r, err := open(ctx, path, opts)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return r, nil
}

func open(ctx context.Context, path string, opts Options) (*Repo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	conf, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"objects", "refs"} {
		info, err := os.Stat(filepath.Join(path, dir))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return nil, notRepository(path, fmt.Sprintf("it has no directory %q", dir))
		}
		if err != nil {
			return nil, err
		}
	}
	command, err := findCommand(opts.Command)
	if err != nil {
		return nil, err
	}
	output, err := run(ctx, command, nil, "--version")
	if err != nil {
		return nil, err
	}
	version, err := parseVersion(output)
	if err != nil {
		return nil, err
	}
	log := opts.Log
	if log == nil {
		discard := logrus.New()
		discard.SetLevel(logrus.PanicLevel)
		log = discard
	}
	return &Repo{path: path, config: conf, command: command, version: version, log: log, landing: make(chan struct{}, 1)}, nil
}

func notRepository(path, reason string) error {
	return fmt.Errorf("%w: %s: %s", ErrNotRepository, path, reason)
}

// Create makes a repository of the given mode at path, together with the directories above it, and
// opens it. An existing repository of that mode is only opened; one of another mode is an error.
func Create(ctx context.Context, path string, mode Mode, opts Options) (*Repo, error) {
	r, err := create(ctx, path, mode, opts)
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	return r, nil
}

func create(ctx context.Context, path string, mode Mode, opts Options) (*Repo, error) {
	command, err := findCommand(opts.Command)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, withCause(err)
	}
	if _, err := run(ctx, command, nil, "init", "--repo="+path, "--mode="+string(mode)); err != nil {
		return nil, err
	}
	r, err := open(ctx, path, opts)
	if err != nil {
		return nil, err
	}
	if r.Mode() != mode {
		return nil, fmt.Errorf("%s has the mode %s already: name another path", r.path, r.Mode())
	}
	return r, nil
}

// Path returns the repository's absolute path.
func (r *Repo) Path() string {
	return r.path
}

// Mode returns the repository's mode, with "archive-z2" spelled as ModeArchive.
func (r *Repo) Mode() Mode {
	return r.config.mode
}

// Version returns that of the ostree command.
func (r *Repo) Version() Version {
	return r.version
}

// Fsck checks every object of the repository. What is wrong is in the error's text.
func (r *Repo) Fsck(ctx context.Context) error {
	return r.ostree(ctx, "fsck", "--quiet")
}

// Prune deletes the objects that no ref reaches, be it through the parents of commits.
func (r *Repo) Prune(ctx context.Context) error {
	return r.ostree(ctx, "prune", "--refs-only")
}

// ostree runs a subcommand on the repository.
func (r *Repo) ostree(ctx context.Context, subcommand string, args ...string) error {
	_, err := run(ctx, r.command, nil, append([]string{subcommand, "--repo=" + r.path}, args...)...)
	return err
}

// loosePath returns the path of an object below the directory objects.
func loosePath(kind objects.Kind, c objects.Checksum, mode Mode) string {
	suffix := string(kind)
	if kind == objects.KindFile && mode == ModeArchive {
		suffix = "filez"
	}
	text := c.String()
	return text[:2] + "/" + text[2:] + "." + suffix
}

func (r *Repo) objectPath(kind objects.Kind, c objects.Checksum) string {
	return r.path + "/objects/" + loosePath(kind, c, r.config.mode)
}
