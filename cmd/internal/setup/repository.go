package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// DefaultRepository returns the path of the host's repository: /ostree/repo,
// or /sysroot/ostree/repo where only that one exists.
func DefaultRepository() string {
	const booted, physical = "/ostree/repo", "/sysroot/ostree/repo"
	if _, err := os.Stat(booted); err != nil {
		if _, err := os.Stat(physical); err == nil {
			return physical
		}
	}
	return booted
}

// Config says which repository images are imported into, and how. The zero
// value is the host's repository, skopeo, and the default number of layers at
// once.
type Config struct {
	Repository string // path; empty: the DefaultRepository at that moment
	// LetWrite, where it is not nil, is called with the repository's path before
	// it is opened or made, so that it can be written to. With missing it makes
	// directories that are not there, if nobody else can.
	LetWrite func(path string, missing bool) error
	// InitCommand makes the repository, for messages.
	InitCommand string
	// Jobs is how many layers of an image are fetched at once; 0 is the
	// importer's default.
	Jobs int
	// Memory, in MiB, is what all work on images shares; 0 is the default.
	Memory int
	Log    logrus.FieldLogger
}

// Path returns where the repository is or has to be made, as an absolute path.
func (c Config) Path() string {
	if c.Repository == "" {
		return DefaultRepository()
	}
	if absolute, err := filepath.Abs(c.Repository); err == nil {
		return absolute
	}
	return c.Repository
}

// Init makes the configured repository; see importer.Init.
func (c Config) Init(ctx context.Context, request importer.InitRequest) (*importer.InitResult, error) {
	path := c.Path()
	if err := c.letWrite(path, true); err != nil {
		return nil, &importer.Error{Kind: importer.KindReadOnly, Stage: importer.StageInit, Err: err}
	}
	return importer.Init(ctx, path, request)
}

func (c Config) letWrite(path string, missing bool) error {
	if c.LetWrite == nil {
		return nil
	}
	return c.LetWrite(path, missing)
}

// openRepository opens the configured repository.
func (c Config) openRepository(ctx context.Context) (*ostreerepo.Repo, error) {
	path := c.Path()
	if err := c.letWrite(path, false); err != nil {
		// Reading works nevertheless, and writing says what is wrong.
		c.Log.WithError(err).Error("cannot make the repository writable")
	}
	repo, err := ostreerepo.Open(ctx, path, ostreerepo.Options{Log: c.Log})
	if err != nil {
		unavailable := &importer.Error{Kind: importer.KindNotAvailable, Stage: importer.StageOpen, Err: err}
		if errors.Is(err, ostreerepo.ErrNotRepository) && c.InitCommand != "" {
			unavailable.Hint = "`" + c.InitCommand + "` makes one"
		}
		return nil, unavailable
	}
	return repo, nil
}

// Provider returns an importer for the configured repository. The repository
// is opened at the first call and again at each following one until that
// succeeds, so that a daemon can start before its repository is there. The
// error is an *importer.Error of kind NotAvailable. Safe for concurrent use.
func Provider(config Config) func(context.Context) (*importer.Importer, error) {
	memory := limitMemory(config.Memory)
	var mu sync.Mutex
	var opened *importer.Importer
	return func(ctx context.Context) (*importer.Importer, error) {
		mu.Lock()
		defer mu.Unlock()
		if opened != nil {
			return opened, nil
		}
		repo, err := config.openRepository(ctx)
		if err != nil {
			return nil, err
		}
		user, err := unprivilegedUser()
		if err != nil {
			return nil, &importer.Error{Kind: importer.KindToolFailed, Stage: importer.StageOpen, Err: err}
		}
		opened = importer.New(importer.Config{
			Repo: repo,
			Open: openSource(config.Log),
			Push: push(config.Log),
			Jobs: config.Jobs,
			Log:  config.Log,

			Memory:     memory,
			TempOwners: proxyOwners(),
			User:       user,
			RPM:        &rpmdb.Reader{User: user},
		})
		return opened, nil
	}
}
