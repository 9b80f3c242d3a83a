package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
)

// ask has a question answered by the daemon or, with --local, by an importer
// of this process. Errors are those of the importer either way, so that
// messages and exit codes do not depend on it.
func ask[Answer any](ctx context.Context, s *settings,
	local func(*importer.Importer) (Answer, error), bus func(*dbus.Client) (Answer, error),
) (answer Answer, err error) {
	if s.local {
		imp, err := s.openLocal(ctx)
		if err != nil {
			return answer, err
		}
		return local(imp)
	}
	err = s.withBus(ctx, func(client *dbus.Client) error {
		answer, err = bus(client)
		return err
	})
	return answer, err
}

// operation is one way to do something that takes its time: a method of the
// importer, and the client's method that starts the job which does the same.
type operation[Request, Result any] struct {
	local func(*importer.Importer, context.Context, Request, func(importer.Progress)) (*Result, error)
	bus   func(*dbus.Client, context.Context, Request, daemon.JobOptions) (uint64, error)
	// result takes it out of a job; nil: it is among the job's results.
	result func(daemon.JobStatus) (*Result, error)
}

// run does an operation and shows its progress meanwhile.
func (o operation[Request, Result]) run(ctx context.Context, s *settings, request Request) (*Result, error) {
	display := newDisplay(os.Stderr, s.quiet)
	defer display.close()
	return ask(ctx, s,
		func(imp *importer.Importer) (*Result, error) { return o.local(imp, ctx, request, display.update) },
		func(client *dbus.Client) (*Result, error) {
			if err := open(&request); err != nil {
				return nil, err
			}
			id, err := o.bus(client, ctx, request, daemon.JobOptions{})
			if err != nil {
				return nil, err
			}
			status, err := waitForJob(ctx, client, id, display)
			if err != nil {
				return nil, err
			}
			if o.result != nil {
				return o.result(status)
			}
			return daemon.Results[Result](status)
		})
}

// withBus runs work on a connection to the daemon.
func (s *settings) withBus(ctx context.Context, work func(*dbus.Client) error) error {
	if s.local {
		return usageError{errors.New("this verb speaks of the daemon's jobs: it can't be used with --local")}
	}
	if s.repository != "" {
		return usageError{errors.New("--repo needs --local: the daemon works on the repository that it was started with")}
	}
	if s.memory != 0 {
		return usageError{errors.New("--memory needs --local: the daemon has the memory that it was started with")}
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
	agent := passwordAgent{}
	defer agent.stop()
	client.OnPassword(func(ctx context.Context) bool {
		if s.noAskPassword {
			return false
		}
		if address == "system" { // no polkit is on another
			agent.start(ctx)
		}
		return true
	})
	return work(client)
}

func (s *settings) openLocal(ctx context.Context) (*importer.Importer, error) {
	config, err := s.localConfig()
	if err != nil {
		return nil, err
	}
	return setup.Provider(config)(ctx)
}

// localConfig is the configuration of work in this process.
func (s *settings) localConfig() (setup.Config, error) {
	if s.memory != 0 {
		if err := setup.CheckMemory(s.memory); err != nil {
			return setup.Config{}, usageError{fmt.Errorf("--memory: %w", err)}
		}
	}
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetLevel(logrus.WarnLevel)
	if s.verbose {
		log.SetLevel(logrus.DebugLevel)
	}
	command := "ostree-importctl --local init"
	if s.repository != "" {
		command = "ostree-importctl --local --repo=" + s.repository + " init"
	}
	return setup.Config{Repository: s.repository, InitCommand: command, Memory: s.memory, Log: log}, nil
}
