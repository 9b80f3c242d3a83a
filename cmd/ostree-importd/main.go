// Command ostree-importd imports container images into an OSTree repository on
// request over D-Bus. systemd starts it when somebody calls org.ostree.import1,
// and it leaves when there is nothing to do.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/cmd/internal/stdout"
	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb/child"
	"github.com/ostree-importd/ostree-importd/systemd"
)

func main() {
	child.Run()
	out := stdout.New(os.Stdout)
	cmd := command()
	cmd.SetOut(out)
	if err := cmp.Or(cmd.Execute(), out.Close()); err != nil {
		fmt.Fprintf(os.Stderr, "ostree-importd: %v\n", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	level, err := logrus.ParseLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	if err := setup.CheckMemory(o.memory); err != nil {
		return fmt.Errorf("--memory: %w", err)
	}
	log := systemd.NewLogger(level)

	// Nothing is reloaded yet, but a reload must not end the daemon either.
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()

	if o.remount {
		if err := makeWritable(sysroot); err != nil {
			// The imports will say so too; everything else works.
			log.WithError(err).Error("cannot make /sysroot writable")
		}
	}
	config := setup.Config{
		Repository: o.repository, InitCommand: "ostree-importctl init", Jobs: o.jobs, Memory: o.memory, Log: log,
	}
	if o.remount {
		config.LetWrite = letWrite
	}
	open := setup.Provider(config)
	manager, err := daemon.New(daemon.Config{
		Importer: func() (*importer.Importer, error) { return open(ctx) },
		Init:     config.Init,
		StateDir: o.stateDir,
		Log:      log,
	})
	if err != nil {
		return err
	}
	server, err := dbus.NewServer(ctx, dbus.ServerConfig{
		Manager:     manager,
		Address:     o.busAddress(),
		IdleTimeout: o.idleTimeout,
		Notify:      func(states ...string) { notify(log, states...) },
		Version:     setup.Version,
		Repository:  config.Path,
		Log:         log,
	})
	if err != nil {
		return errors.Join(err, manager.Shutdown(ctx))
	}
	defer startWatchdog(ctx, manager.Ping)()
	defer startSweep(ctx, open)()
	return server.Run(ctx)
}

// startWatchdog pings the service manager until the returned function is
// called, also while running jobs are being stopped after ctx has ended.
func startWatchdog(ctx context.Context, ping func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { systemd.Watchdog(ctx, ping) })
	return func() {
		cancel()
		running.Wait()
	}
}

// startSweep deletes what a killed daemon has left, until ctx ends or the returned function is
// called. Callers need not wait for that.
func startSweep(ctx context.Context, open func(context.Context) (*importer.Importer, error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if im, err := open(ctx); err == nil { // else the first job says what is wrong
			im.Sweep(ctx)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

func notify(log logrus.FieldLogger, states ...string) {
	if err := systemd.Notify(states...); err != nil {
		log.WithError(err).Warn("cannot tell systemd the state")
	}
}
