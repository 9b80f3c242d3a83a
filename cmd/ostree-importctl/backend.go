package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

// backend does the work of a verb: the daemon over the bus, or this process.
// Errors are those of the importer either way, so that messages and exit codes
// do not depend on it.
type backend interface {
	Pull(ctx context.Context, request importer.Request, progress func(importer.Progress)) (*importer.Result, error)
	Prepare(ctx context.Context, request importer.Request) (*importer.Plan, error)
	Images(ctx context.Context) ([]importer.Image, error)
	Image(ctx context.Context, reference string) (*importer.Image, error)
}

// with runs work on the backend that the options choose.
func (s *settings) with(ctx context.Context, work func(backend) error) error {
	if s.local {
		local, err := s.openLocal(ctx)
		if err != nil {
			return err
		}
		return work(local)
	}
	return s.withBus(ctx, func(client *dbus.Client) error { return work(overBus{client}) })
}

// withBus runs work on a connection to the daemon.
func (s *settings) withBus(ctx context.Context, work func(*dbus.Client) error) error {
	if s.local {
		return usageError{errors.New("this verb speaks of the daemon's jobs: it can't be used with --local")}
	}
	if s.repository != "" {
		return usageError{errors.New("--repo needs --local: the daemon works on the repository that it was started with")}
	}
	address := "system"
	switch {
	case s.session:
		address = "session"
	case s.address != "":
		address = s.address
	}
	client, err := dbus.Dial(ctx, address)
	if err != nil {
		return fmt.Errorf("%w; without a bus or daemon use --local", err)
	}
	defer client.Close()
	return work(client)
}

func (s *settings) openLocal(ctx context.Context) (backend, error) {
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetLevel(logrus.WarnLevel)
	if s.verbose {
		log.SetLevel(logrus.DebugLevel)
	}
	open := setup.Provider(setup.Config{Repository: s.repository, Log: log})
	imp, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return inProcess{imp}, nil
}

// inProcess is the backend of --local.
type inProcess struct{ importer *importer.Importer }

func (b inProcess) Pull(ctx context.Context, request importer.Request, progress func(importer.Progress)) (*importer.Result, error) {
	prepared, err := b.importer.Prepare(ctx, request)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	return prepared.Import(ctx, progress)
}

func (b inProcess) Prepare(ctx context.Context, request importer.Request) (*importer.Plan, error) {
	prepared, err := b.importer.Prepare(ctx, request)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	plan := prepared.Plan()
	return &plan, nil
}

func (b inProcess) Images(ctx context.Context) ([]importer.Image, error) {
	return b.importer.Images(ctx)
}

func (b inProcess) Image(ctx context.Context, reference string) (*importer.Image, error) {
	return b.importer.Image(ctx, reference)
}
