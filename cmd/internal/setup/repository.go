package setup

import (
	"context"
	"os"
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
	Repository string
	// Jobs is how many layers of an image are fetched at once; 0 is the
	// importer's default.
	Jobs int
	// Memory, in MiB, is what all work on images shares; 0 is the default.
	Memory int
	Log    logrus.FieldLogger
}

// Provider returns an importer for the configured repository. The repository
// is opened at the first call and again at each following one until that
// succeeds, so that a daemon can start before its repository is there. The
// error is an *importer.Error of kind NotAvailable. Safe for concurrent use.
func Provider(config Config) func(context.Context) (*importer.Importer, error) {
	if config.Repository == "" {
		config.Repository = DefaultRepository()
	}
	memory := limitMemory(config.Memory)
	var mu sync.Mutex
	var opened *importer.Importer
	return func(ctx context.Context) (*importer.Importer, error) {
		mu.Lock()
		defer mu.Unlock()
		if opened != nil {
			return opened, nil
		}
		repo, err := ostreerepo.Open(ctx, config.Repository, ostreerepo.Options{Log: config.Log})
		if err != nil {
			return nil, &importer.Error{Kind: importer.KindNotAvailable, Stage: importer.StageOpen, Err: err}
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
